// Package isotime reads dates and times of ISO 8601 in whatever of its forms a
// service writes them. Words, zones of other names and other orders of day and
// month are not its matter.
package isotime

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The forms of a date and of a time of day, extended and basic. Go reads
// fractions of a second without being told.
var (
	dateForms = []string{"2006-01-02", "20060102", "2006-002", "2006002", "2006-01", "2006"}
	timeForms = []string{"15:04:05", "150405", "15:04", "1504", "15"}
	zoneForms = []string{"", "Z07:00", "Z0700", "Z07"}
)

var (
	weekDate = regexp.MustCompile(`^(\d{4})-?W(\d{2})(?:-?([1-7]))?$`)
	midnight = regexp.MustCompile(`^24(:?00){0,2}([.,]0+)?(Z|[+-].*)?$`)
)

// Parse reads a calendar, ordinal or week date, alone or with a time of day and
// its offset. A time without an offset is UTC, and so is the result; a date alone
// is its midnight. It reports false for anything else.
func Parse(s string) (time.Time, bool) {
	date, clock, timed := strings.Cut(strings.Replace(strings.ToUpper(strings.TrimSpace(s)), " ", "T", 1), "T")
	day, ok := parseDate(date)
	if !ok || !timed {
		return day, ok
	}
	clock = strings.Replace(clock, "\u2212", "-", 1) // the minus sign that ISO 8601 prefers
	if midnight.MatchString(clock) {
		clock = "00" + clock[2:]
		day = day.AddDate(0, 0, 1)
	}
	for _, form := range timeForms {
		for _, zone := range zoneForms {
			if t, err := time.Parse(time.DateOnly+"T"+form+zone, day.Format(time.DateOnly)+"T"+clock); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

func parseDate(s string) (time.Time, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	m := weekDate.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, false
	}
	year, _ := strconv.Atoi(m[1]) // the pattern leaves nothing but digits
	week, _ := strconv.Atoi(m[2])
	weekday := 1
	if m[3] != "" {
		weekday, _ = strconv.Atoi(m[3])
	}
	// The fourth of January is always in the first week, which begins on Monday.
	fourth := time.Date(year, time.January, 4, 0, 0, 0, 0, time.UTC)
	monday := fourth.AddDate(0, 0, -(int(fourth.Weekday())+6)%7)
	t := monday.AddDate(0, 0, (week-1)*7+weekday-1)
	gotYear, gotWeek := t.ISOWeek()
	return t, gotYear == year && gotWeek == week
}
