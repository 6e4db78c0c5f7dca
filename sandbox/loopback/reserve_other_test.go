//go:build !linux

package loopback_test

func notAgain(uintptr) error { return nil }
