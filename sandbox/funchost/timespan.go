package funchost

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// timeSpanForm is the .NET text form of a time span: days alone, or
// [d.]hh:mm[:ss[.fffffff]].
var timeSpanForm = regexp.MustCompile(`^(?:(\d{1,5})|(?:(\d{1,5})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?)$`)

// parseTimeSpan reads a time span as host.json and function.json write it.
// Negative spans have no use there and are refused.
func parseTimeSpan(s string) (time.Duration, error) {
	m := timeSpanForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("time span %q is not of the form [d.]hh:mm:ss", s)
	}
	number := func(i int) time.Duration {
		n, _ := strconv.Atoi(m[i]) // Digits only, or empty for zero.
		return time.Duration(n)
	}
	const day = 24 * time.Hour
	if m[1] != "" {
		return number(1) * day, nil
	}
	hours, minutes, seconds := number(3), number(4), number(5)
	if hours > 23 || minutes > 59 || seconds > 59 {
		return 0, fmt.Errorf("time span %q has an hour above 23, or a minute or second above 59", s)
	}
	fraction, _ := strconv.Atoi((m[6] + "0000000")[:7]) // Ticks of 100 nanoseconds.
	return number(2)*day + hours*time.Hour + minutes*time.Minute + seconds*time.Second + time.Duration(fraction)*100, nil
}
