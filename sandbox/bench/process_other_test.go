//go:build !linux

package bench

import "time"

func usage(string) (peakMB float64, cpu time.Duration, ok bool) { return 0, 0, false }

func emulatorUsage() (peakMB float64, cpu time.Duration, ok bool) { return 0, 0, false }

func ownUsage() (peakMB float64, cpu time.Duration, ok bool) { return 0, 0, false }
