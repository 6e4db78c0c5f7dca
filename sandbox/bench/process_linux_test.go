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
		status, err := os.ReadFile(filepath.Join(filepath.Dir(link), "status"))
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(link), "stat"))
		if err != nil {
			continue
		}
		_, line, _ := strings.Cut(string(status), "VmHWM:")
		var kB float64
		if _, err := fmt.Sscan(line, &kB); err != nil {
			continue // it is ending
		}
		// The name, in parentheses, may hold blanks; utime and stime are the
		// 14th and 15th field.
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		return kB / 1024, time.Duration(user+system) * time.Second / ticks, true
	}
	return 0, 0, false
}
