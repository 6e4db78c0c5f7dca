package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/words"
)

// logLine is a line of the logbook in CIPP's words.
type logLine struct {
	DateTime     time.Time
	Tenant       string
	API          string
	Message      string
	User         string
	Severity     string
	LogData      any
	TenantID     string
	AppID        *string `json:"AppId"`
	IP           *string
	RowKey       string
	Standard     struct{} // which standard wrote the line, if any: CIPP tells, we do not
	StandardInfo struct{} // the same, under the name that newer versions use
	DateFilter   string
}

const (
	dayFormat = "20060102"
	// maxLogDays and maxLogLines bound one request: a page that asks for a long
	// time gets its latest lines.
	maxLogDays  = 366
	maxLogLines = 10_000
	// daysPerPage bounds the reads of one page where lines are given in pages.
	daysPerPage = 31
)

// listLogs is CIPP's ListLogs. It lists the days there are (ListLogs=true), one line
// (logentryid), or the lines that the filters select. The latest lines come first,
// today's where the query gives no day. With manualPagination the lines come in pages of
// whole days.
func (h *Handlers) listLogs(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	var answer any
	var err error
	switch {
	case truth(query(r, "ListLogs")):
		answer, err = h.logDays(ctx)
	case query(r, "logentryid") != "":
		answer, err = h.logEntry(ctx, query(r, "logentryid"), query(r, "DateFilter"))
	default:
		answer, err = h.logLines(ctx, r)
	}
	if bad := (badFilter{}); errors.As(err, &bad) {
		respond(w, http.StatusBadRequest, results("Failed to read the logbook: "+words.End(err.Error())))
		return
	}
	if err != nil {
		h.Log.ErrorContext(ctx, "the logbook cannot be listed", "error", err)
		respond(w, http.StatusInternalServerError, results("Failed to read the logbook: "+words.End(err.Error())))
		return
	}
	respond(w, http.StatusOK, answer)
}

// badFilter is a filter that nothing could match.
type badFilter struct{ error }

type logDay struct {
	Value string `json:"value"`
	Label string `json:"label"`
}

func (h *Handlers) logDays(ctx context.Context) ([]logDay, error) {
	days, err := h.CIPP.LogDays(ctx)
	list := []logDay{}
	for _, d := range days {
		list = append(list, logDay{d, d})
	}
	return list, err
}

// entryID is the form of the ids of lines, old and new.
var entryID = regexp.MustCompile(`^[0-9a-fA-F-]{1,64}$`)

func (h *Handlers) logEntry(ctx context.Context, id, date string) ([]logLine, error) {
	if !entryID.MatchString(id) {
		return nil, badFilter{errors.New("logentryid is not the id of a line")}
	}
	day := h.CIPP.LogToday(ctx)
	if date != "" {
		var err error
		if day, err = parseDay(date); err != nil {
			return nil, err
		}
	} else if told, err := h.CIPP.LogDayOf(ctx, id); err == nil {
		day = told
	}
	line, ok, err := h.CIPP.LogEntry(ctx, day, id)
	if err != nil || !ok {
		return []logLine{}, err
	}
	return []logLine{lineOf(line)}, nil
}

// logLines serves the list itself.
func (h *Handlers) logLines(ctx context.Context, r *http.Request) (any, error) {
	first, last, filter, err := h.logFilter(ctx, r)
	if err != nil {
		return nil, err
	}
	paged := truth(query(r, "manualPagination"))
	if next := query(r, "nextLink"); paged && next != "" {
		from, err := parseDay(next)
		if err != nil {
			return nil, err
		}
		if from.Before(last) {
			last = from
		}
	}
	lines := []logLine{}
	day := last
	for days := 0; !day.Before(first) && len(lines) < maxLogLines; day, days = day.AddDate(0, 0, -1), days+1 {
		if paged && (len(lines) > 0 || days == daysPerPage) {
			break
		}
		found, err := h.CIPP.LogDay(ctx, day, filter)
		if err != nil {
			return nil, err
		}
		for _, l := range found[:min(len(found), maxLogLines-len(lines))] {
			lines = append(lines, lineOf(l))
		}
	}
	if !paged {
		return lines, nil
	}
	metadata := map[string]string{}
	if !day.Before(first) {
		metadata["nextLink"] = day.Format(dayFormat)
	}
	return map[string]any{"Results": lines, "Metadata": metadata}, nil
}

// logFilter reads the filters, which count only with Filter=true, and the days.
func (h *Handlers) logFilter(ctx context.Context, r *http.Request) (first, last time.Time, f cipp.LogFilter, err error) {
	today := h.CIPP.LogToday(ctx)
	if !truth(query(r, "Filter")) {
		return today, today, f, nil
	}
	value := func(name string) string {
		text := query(r, name)
		if len(text) > maxName {
			err = badFilter{errors.New(name + " is too long")}
			return ""
		}
		return strings.ToValidUTF8(text, "\uFFFD") // no pattern holds anything else
	}
	if text := value("Severity"); text != "" {
		f.Severities = strings.Split(text, ",")
	}
	f.User = cipp.UserPattern(value("User"))
	if f.Tenant = value("Tenant"); f.Tenant == "AllTenants" {
		f.Tenant = ""
	}
	if text := value("API"); text != "" {
		// CIPP takes a regular expression; Go's need no more than linear time.
		f.API, err = regexp.Compile("(?i)" + text)
		if err != nil {
			f.API, err = regexp.MustCompile("(?i)"+regexp.QuoteMeta(text)), nil
		}
	}
	start, end := value("StartDate"), value("EndDate")
	if date := value("DateFilter"); date != "" {
		start, end = cmp.Or(start, date), cmp.Or(end, date)
	}
	if err != nil {
		return today, today, f, err
	}
	first, last = today, today
	if start, end = cmp.Or(start, end), cmp.Or(end, start); start != "" {
		if first, err = parseDay(start); err != nil {
			return first, last, f, err
		}
		if last, err = parseDay(end); err != nil {
			return first, last, f, err
		}
	}
	if oldest := last.AddDate(0, 0, 1-maxLogDays); first.Before(oldest) {
		first = oldest
	}
	return first, last, f, nil
}

// parseDay reads a day as 20260801 or 2026-08-01, with a time after it or not.
func parseDay(text string) (time.Time, error) {
	digits := strings.ReplaceAll(text, "-", "")
	if len(digits) > 8 && (digits[8] == 'T' || digits[8] == ' ') {
		digits = digits[:8]
	}
	day, err := time.Parse(dayFormat, digits)
	if err != nil {
		return day, badFilter{errors.New("a date must look like 20260801")}
	}
	return day, nil
}

func lineOf(l cipp.LogLine) logLine {
	return logLine{
		DateTime: l.Time, Tenant: l.Tenant, API: l.API, Message: l.Message, User: l.User, Severity: l.Severity,
		LogData: jsonOrText(l.Data), TenantID: cmp.Or(l.TenantID, "None"), AppID: text(l.AppID), IP: text(l.IP), RowKey: l.ID, DateFilter: l.Day,
	}
}

// jsonOrText is what a column holds, as JSON where it is JSON; nil when empty.
func jsonOrText(text string) any {
	switch {
	case text == "":
		return nil
	case json.Valid([]byte(text)):
		return json.RawMessage(text)
	}
	return text
}
