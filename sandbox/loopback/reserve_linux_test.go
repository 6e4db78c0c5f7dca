package loopback_test

import "syscall"

// notAgain leaves a socket without the right to a port that another has bound.
func notAgain(fd uintptr) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
}
