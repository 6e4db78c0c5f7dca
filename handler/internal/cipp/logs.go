package cipp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// LogLine is one line of CIPP's logbook as read.
type LogLine struct {
	Day      string // partition, yyyyMMdd
	ID       string // row key
	Time     time.Time
	Tenant   string // default domain, or None
	TenantID string // "" when the line has none
	API      string
	Message  string
	User     string
	Severity string
	Data     string // JSON, text or ""
	AppID    string
	IP       string
}

// LogFilter selects lines of the logbook. Zero values select everything.
type LogFilter struct {
	Severities []string       // in any case; none for those that CIPP's page shows
	User       *regexp.Regexp // see UserPattern
	Tenant     string         // part of a domain, or a tenant's GUID
	API        *regexp.Regexp // what the line is about
}

// shownSeverities are those that CIPP's page shows without a filter.
var shownSeverities = []string{"Info", "Warn", "Warning", "Error", "Critical", "Alert"}

// LogToday returns the day of the logbook that lines are written to now, as midnight UTC.
func (s *Store) LogToday(ctx context.Context) time.Time {
	return dayOf(s.deps.Now().In(s.logZone(ctx)))
}

func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

const logDay = "20060102"

// LogDay returns the lines of one day, the latest first.
func (s *Store) LogDay(ctx context.Context, day time.Time, f LogFilter) ([]LogLine, error) {
	lines := []LogLine{}
	for e, err := range s.rows(ctx, tableLogs, storage.Eq("PartitionKey", day.Format(logDay))) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's logbook: %w", err)
		}
		if line := logLine(e); f.selects(line) {
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, func(a, b LogLine) int { return b.Time.Compare(a.Time) })
	return lines, nil
}

// LogEntry returns one line; false when there is none of that id on that day.
func (s *Store) LogEntry(ctx context.Context, day time.Time, id string) (LogLine, bool, error) {
	filter := storage.And(storage.Eq("PartitionKey", day.Format(logDay)), storage.Or(storage.Eq("RowKey", id), storage.Eq(originalMark, id)))
	for e, err := range s.rows(ctx, tableLogs, filter) {
		if err != nil {
			return LogLine{}, false, fmt.Errorf("read CIPP's logbook: %w", err)
		}
		return logLine(e), true, nil
	}
	return LogLine{}, false, nil
}

// LogDays returns the days that the logbook has lines of, in order.
func (s *Store) LogDays(ctx context.Context) ([]string, error) {
	days := []string{}
	for after := ""; ; {
		next := ""
		for e, err := range s.table(tableLogs).List(ctx, storage.Ge("PartitionKey", after), "PartitionKey") {
			if err != nil {
				return nil, fmt.Errorf("read CIPP's logbook: %w", err)
			}
			next = e.PartitionKey()
			break
		}
		if next == "" {
			return days, nil
		}
		days = append(days, next)
		after = next + "!" // sorts after the day, and before any longer key that CIPP could use
	}
}

// LogDayOf returns the day of a line by its id, where the id tells it. Present versions
// of CIPP begin an id with the time left until .NET's calendar ends.
func (s *Store) LogDayOf(ctx context.Context, id string) (time.Time, error) {
	left, _, _ := strings.Cut(id, "-")
	ticks, err := strconv.ParseInt(left, 10, 64)
	if len(left) != 19 || err != nil {
		return time.Time{}, errors.New("the line's id does not tell its day")
	}
	const (
		lastTick  = 3155378975999999999 // of the year 9999, in 100 ns since the year 1
		unixTicks = 621355968000000000  // of 1970
	)
	since := lastTick - ticks - unixTicks
	return dayOf(time.Unix(since/1e7, 0).In(s.logZone(ctx))), nil
}

func logLine(e storage.Entity) LogLine {
	return LogLine{
		Day: e.PartitionKey(), ID: e.RowKey(), Time: e.Timestamp(),
		Tenant: e.String("Tenant"), TenantID: e.String("TenantID"), API: e.String("API"), Message: e.String("Message"),
		User: e.String("Username"), Severity: e.String("Severity"), Data: e.String("LogData"), AppID: e.String("AppId"), IP: e.String("IP"),
	}
}

func (f LogFilter) selects(l LogLine) bool {
	severities := f.Severities
	if len(severities) == 0 {
		severities = shownSeverities
	}
	if !slices.ContainsFunc(severities, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), l.Severity) }) {
		return false
	}
	if f.Tenant != "" && !strings.EqualFold(f.Tenant, l.TenantID) &&
		!strings.Contains(strings.ToLower(l.Tenant), strings.ToLower(f.Tenant)) {
		return false
	}
	if f.API != nil && !f.API.MatchString(l.API) {
		return false
	}
	return f.User == nil || f.User.MatchString(l.User)
}

// UserPattern is the filter for users by name, where * stands for any text. It is nil for
// "".
func UserPattern(text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	return regexp.MustCompile("(?is)^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, ".*") + "$")
}
