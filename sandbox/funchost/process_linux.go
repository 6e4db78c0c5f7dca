package funchost

import "syscall"

// endWithHost makes the handler end when the host's process does, however that
// ends, so that a broken-off test leaves nothing behind.
func endWithHost() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
