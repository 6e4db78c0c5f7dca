package funchost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// schedule tells when a timer fires.
type schedule interface {
	// next returns the first occurrence strictly after t, in UTC, or the zero
	// time when there is none.
	next(t time.Time) time.Time
}

// parseSchedule reads a timer's schedule: an NCRONTAB expression or a time span.
func parseSchedule(s string) (schedule, error) {
	c, err := parseCron(s)
	if err == nil {
		return c, nil
	}
	if span, spanErr := parseTimeSpan(s); spanErr == nil {
		if span <= 0 {
			return nil, fmt.Errorf("schedule %q is an interval of no length", s)
		}
		return interval(span), nil
	}
	return nil, err
}

// interval is a schedule that fires again a fixed time after the last occurrence.
type interval time.Duration

func (i interval) next(t time.Time) time.Time { return t.UTC().Add(time.Duration(i)) }

// cron is an NCRONTAB schedule. Each field is a bit mask of the values that
// match; the day of the month and the weekday must both match.
type cron struct {
	second, minute, hour, day, month, weekday uint64
}

type cronField struct {
	name     string
	min, max int
	names    []string
}

var cronFields = [6]cronField{
	{name: "second", min: 0, max: 59},
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of the month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december"}},
	{name: "weekday", min: 0, max: 6, names: []string{"sunday", "monday", "tuesday", "wednesday", "thursday",
		"friday", "saturday"}},
}

// parseCron reads an NCRONTAB expression of six fields, or of five without the
// seconds.
func parseCron(s string) (cron, error) {
	parts := strings.Fields(s)
	if len(parts) == 5 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) != 6 {
		return cron{}, fmt.Errorf("schedule %q has %d fields; an NCRONTAB expression has six (second minute hour day month weekday) or five", s, len(parts))
	}
	var masks [6]uint64
	for i, f := range cronFields {
		mask, err := f.parse(parts[i])
		if err != nil {
			return cron{}, fmt.Errorf("schedule %q: %s: %w", s, f.name, err)
		}
		masks[i] = mask
	}
	return cron{masks[0], masks[1], masks[2], masks[3], masks[4], masks[5]}, nil
}

func (f cronField) parse(s string) (uint64, error) {
	var mask uint64
	for element := range strings.SplitSeq(s, ",") {
		base, stepText, stepped := strings.Cut(element, "/")
		step := 1
		if stepped {
			var err error
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, fmt.Errorf("step %q is not a number above zero", stepText)
			}
		}
		first, last, err := f.bounds(base, stepped)
		if err != nil {
			return 0, err
		}
		for v := first; v <= last; v += step {
			mask |= 1 << v
			if step > last { // Guards the addition against overflow.
				break
			}
		}
	}
	return mask, nil
}

// bounds reads one element without its step. A single value with a step runs
// to the field's maximum; a reversed range is swapped.
func (f cronField) bounds(s string, stepped bool) (first, last int, err error) {
	if s == "*" {
		return f.min, f.max, nil
	}
	from, to, ranged := strings.Cut(s, "-")
	if first, err = f.value(from); err != nil {
		return 0, 0, err
	}
	switch {
	case ranged:
		if last, err = f.value(to); err != nil {
			return 0, 0, err
		}
	case stepped:
		last = f.max
	default:
		last = first
	}
	return min(first, last), max(first, last), nil
}

func (f cronField) value(s string) (int, error) {
	if s == "" {
		return 0, errors.New("a value is missing")
	}
	if s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.Atoi(s)
		if err != nil || n < f.min || n > f.max {
			return 0, fmt.Errorf("%q is not a number from %d to %d", s, f.min, f.max)
		}
		return n, nil
	}
	for i, name := range f.names {
		if strings.HasPrefix(name, strings.ToLower(s)) {
			return f.min + i, nil
		}
	}
	return 0, fmt.Errorf("%q is not valid here", s)
}

// maxCronDays bounds the search for a next occurrence. The 29th of February on
// a given weekday returns after at most 40 years.
const maxCronDays = 41 * 366

func (c cron) next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Second).Add(time.Second)
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	hour, minute, second := t.Clock()
	for range maxCronDays {
		if has(c.day, day.Day()) && has(c.month, int(day.Month())) && has(c.weekday, int(day.Weekday())) {
			if offset, ok := c.timeOfDay(hour, minute, second); ok {
				return day.Add(offset)
			}
		}
		day = day.AddDate(0, 0, 1)
		hour, minute, second = 0, 0, 0
	}
	return time.Time{}
}

// timeOfDay returns the first matching time of a day at or after the given one.
func (c cron) timeOfDay(hour, minute, second int) (time.Duration, bool) {
	for h := hour; h < 24; h++ {
		if has(c.hour, h) {
			for m := minute; m < 60; m++ {
				if has(c.minute, m) {
					for s := second; s < 60; s++ {
						if has(c.second, s) {
							return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second, true
						}
					}
				}
				second = 0
			}
		}
		minute, second = 0, 0
	}
	return 0, false
}

func has(mask uint64, v int) bool { return mask&(1<<v) != 0 }
