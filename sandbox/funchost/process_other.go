//go:build !linux

package funchost

import "syscall"

// endWithHost does nothing where the system cannot tie one process's end to
// another's.
func endWithHost() *syscall.SysProcAttr { return nil }
