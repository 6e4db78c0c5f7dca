package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is the kernel's USER_HZ, which is 100 on every architecture of Go's.
const ticks = 100

// usage returns the largest resident set so far, in MiB, and the processor time
// of the running process of a program; false when there is none.
func usage(program string) (peakMB float64, cpu time.Duration, ok bool) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err != nil || exe != program {
			continue
		}
		if peakMB, cpu, _, ok = usageIn(filepath.Dir(link)); ok {
			return peakMB, cpu, true
		}
	}
	return 0, 0, false
}

// emulatorUsage is the usage of the storage emulator that this process started.
func emulatorUsage() (peakMB float64, cpu time.Duration, ok bool) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err != nil || filepath.Base(exe) != "node" {
			continue
		}
		peakMB, cpu, parent, ok := usageIn(filepath.Dir(link))
		if ok && parent == os.Getpid() {
			return peakMB, cpu, true
		}
	}
	return 0, 0, false
}

// ownUsage is the usage of this process.
func ownUsage() (peakMB float64, cpu time.Duration, ok bool) {
	peakMB, cpu, _, ok = usageIn("/proc/self")
	return peakMB, cpu, ok
}

// usageIn reads a process's folder below /proc; not ok when the process is ending.
func usageIn(dir string) (peakMB float64, cpu time.Duration, parent int, ok bool) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, 0, 0, false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, 0, 0, false
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	if _, err := fmt.Sscan(line, &kB); err != nil {
		return 0, 0, 0, false
	}
	// The name, in parentheses, may hold blanks; the parent is the 4th field, utime
	// and stime are the 14th and 15th.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return kB / 1024, time.Duration(user+system) * time.Second / ticks, parent, true
}
