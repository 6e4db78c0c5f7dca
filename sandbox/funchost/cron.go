package funchost

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cron is an NCRONTAB schedule: second, minute, hour, day of the month, month and
// weekday. Each field is *, */step or one number, the forms that this app uses.
type cron [6]cronField

// cronField matches every multiple of step, or one value when step is zero.
type cronField struct{ step, value int }

func (f cronField) has(v int) bool {
	if f.step > 0 {
		return v%f.step == 0
	}
	return v == f.value
}

// cronBounds are the lowest and the highest value of each field.
var cronBounds = [6][2]int{{0, 59}, {0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}

// parseCron reads an NCRONTAB expression of six fields.
func parseCron(s string) (cron, error) {
	var c cron
	parts := strings.Fields(s)
	if len(parts) != len(c) {
		return c, fmt.Errorf("schedule %q has %d fields; the stand-in knows those of six (second minute hour day month weekday)", s, len(parts))
	}
	for i, part := range parts {
		low, high := cronBounds[i][0], cronBounds[i][1]
		text, stepped := strings.CutPrefix(part, "*/")
		n, err := strconv.Atoi(text)
		switch {
		case part == "*":
			c[i].step = 1
		case stepped && err == nil && low == 0 && n > 0:
			c[i].step = n
		case !stepped && err == nil && low <= n && n <= high:
			c[i].value = n
		default:
			return c, fmt.Errorf("schedule %q: the stand-in does not know %q; it knows *, */step and a number from %d to %d", s, part, low, high)
		}
	}
	return c, nil
}

// next returns the first occurrence strictly after t, in UTC. It returns the zero time
// when there is none within 40 years. The longest wait is for a leap day on one weekday.
func (c cron) next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Second).Add(time.Second)
	for end := t.AddDate(40, 0, 1); t.Before(end); {
		switch {
		case !c[3].has(t.Day()) || !c[4].has(int(t.Month())) || !c[5].has(int(t.Weekday())):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case !c[2].has(t.Hour()):
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !c[1].has(t.Minute()):
			t = t.Truncate(time.Minute).Add(time.Minute)
		case !c[0].has(t.Second()):
			t = t.Add(time.Second)
		default:
			return t
		}
	}
	return time.Time{}
}
