package funchost

import (
	"testing"
	"time"
)

func TestScheduleNext(t *testing.T) {
	tests := []struct {
		name, schedule, from string
		want                 []string
	}{
		{"every quarter of an hour", "0 */15 * * * *", "2026-11-23T10:07:30Z", []string{"2026-11-23T10:15:00Z", "2026-11-23T10:30:00Z"}},
		{"strictly after the base time", "0 */15 * * * *", "2026-11-23T10:15:00Z", []string{"2026-11-23T10:30:00Z"}},
		{"fraction of a second before", "0 0 * * * *", "2026-11-23T09:59:59.5Z", []string{"2026-11-23T10:00:00Z"}},
		{"day and weekday must both match", "0 0 0 13 * 5", "2026-11-23T00:00:00Z", []string{"2027-08-13T00:00:00Z"}},
		{"sunday is zero", "0 0 0 * * 0", "2026-11-23T00:00:00Z", []string{"2026-11-29T00:00:00Z"}},
		{"short months are skipped", "0 0 0 31 * *", "2026-11-23T00:00:00Z", []string{"2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"leap day", "0 0 0 29 2 *", "2026-11-23T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"leap day on a weekday, over the year 2100", "0 0 0 29 2 1", "2072-03-01T00:00:00Z", []string{"2112-02-29T00:00:00Z"}},
		{"never", "0 0 0 31 4 *", "2026-11-23T00:00:00Z", []string{"0001-01-01T00:00:00Z"}},
		{"other zones are read as UTC", "0 0 0 * * *", "2026-11-23T23:30:00-05:00", []string{"2026-11-25T00:00:00Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parseCron(tt.schedule)
			must(t, err)
			at, err := time.Parse(time.RFC3339, tt.from)
			must(t, err)
			for _, want := range tt.want {
				at = s.next(at)
				if got := at.Format(time.RFC3339); got != want {
					t.Fatalf("next = %s, want %s", got, want)
				}
			}
		})
	}
}

func TestScheduleRefused(t *testing.T) {
	for name, s := range map[string]string{
		"empty":          "",
		"five fields":    "* * * * *",
		"weekday seven":  "0 0 0 * * 7",
		"second sixty":   "60 * * * * *",
		"day zero":       "0 0 0 0 * *",
		"step zero":      "0 */0 * * * *",
		"negative step":  "0 */-1 * * * *",
		"step of days":   "0 0 0 */2 * *",
		"two steps":      "0 */2/2 * * * *",
		"list":           "1,2 * * * * *",
		"range":          "1-2 * * * * *",
		"step from five": "5/10 * * * * *",
		"name":           "0 0 0 * * mon",
		"nickname":       "@daily",
	} {
		if got, err := parseCron(s); err == nil {
			t.Errorf("%s: parseCron(%q) = %v, want an error", name, s, got)
		}
	}
}

func TestTimeSpan(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"00:10:00":         10 * time.Minute,
		"01:02":            time.Hour + 2*time.Minute,
		"1.02:03:04":       26*time.Hour + 3*time.Minute + 4*time.Second,
		"00:00:00.1":       100 * time.Millisecond,
		"00:00:02.0000001": 2*time.Second + 100,
		"7":                7 * 24 * time.Hour,
	} {
		if got, err := parseTimeSpan(s); err != nil || got != want {
			t.Errorf("parseTimeSpan(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "-00:01:00", "24:00:00", "00:60:00", "00:00:60", "1.2", "00:00:00.12345678"} {
		if got, err := parseTimeSpan(s); err == nil {
			t.Errorf("parseTimeSpan(%q) = %v, want an error", s, got)
		}
	}
}
