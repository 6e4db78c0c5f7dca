//go:build unix

package azurite

import (
	"os"
	"syscall"
)

// lock waits for the exclusive lock on a file that exists and returns the
// function that gives it back.
func lock(path string) (func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
