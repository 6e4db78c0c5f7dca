package console

import (
	"regexp"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
)

const (
	// maxLogDays and maxLogLines bound what one page reads and shows.
	maxLogDays  = 31
	maxLogLines = 500
	formDay     = "2006-01-02"
)

// ourAPIs are the names under which CIPP's logbook holds what is about us.
var ourAPIs = []string{cipp.LogbookSync, cipp.LogbookAutomap, cipp.LogbookCompliance, cipp.LogbookSettings}

type logbookPage struct {
	Lines      []logRow
	APIs       []option
	Severities []option
	Tenant     string
	From, To   string
	Filtered   bool
	More       bool // there are more lines than are shown
}

type logRow struct {
	cipp.LogLine
	State chip
}

// logbook shows the lines of CIPP's logbook that are about NinjaOne.
func (c *Console) logbook(x *exchange) error {
	problem := ""
	day := func(name string, otherwise time.Time) time.Time {
		text := x.value(name)
		if text == "" {
			return otherwise
		}
		d, err := time.Parse(formDay, text)
		if err != nil {
			problem = "A day must look like 2026-08-01."
			return otherwise
		}
		return d
	}
	last := day("to", c.CIPP.LogToday(x.ctx()))
	first := day("from", last.AddDate(0, 0, -1))
	if first.After(last) {
		first, last = last, first
	}
	if oldest := last.AddDate(0, 0, 1-maxLogDays); first.Before(oldest) {
		first = oldest
		problem = "At most 31 days are shown at once."
	}
	p := logbookPage{Tenant: x.value("tenant"), From: first.Format(formDay), To: last.Format(formDay)}
	api, severity := x.value("api"), x.value("severity")
	p.APIs = options(api, "", "All of NinjaOne", cipp.LogbookSync, "Sync", cipp.LogbookAutomap, "Automap", cipp.LogbookCompliance, "Compliance", cipp.LogbookSettings, "Settings and mappings")
	p.Severities = options(severity, "", "All", "warn", "Warnings and errors", "error", "Errors")
	p.Filtered = p.Tenant != "" || api != "" || severity != ""
	pattern := strings.Join(ourAPIs, "|")
	if api != "" {
		pattern = regexp.QuoteMeta(api)
	}
	filter := cipp.LogFilter{Tenant: p.Tenant, API: regexp.MustCompile("(?i)^(" + pattern + ")$")}
	switch severity {
	case "warn":
		filter.Severities = []string{"Warn", "Warning", "Error", "Critical", "Alert"}
	case "error":
		filter.Severities = []string{"Error", "Critical", "Alert"}
	}
	for d := last; !d.Before(first) && !p.More; d = d.AddDate(0, 0, -1) {
		lines, err := c.CIPP.LogDay(x.ctx(), d, filter)
		if err != nil {
			return err
		}
		for _, l := range lines {
			if len(p.Lines) == maxLogLines {
				p.More = true
				break
			}
			p.Lines = append(p.Lines, logRow{l, severityChip(l.Severity)})
		}
	}
	return c.show(x, "logbook", "Logbook", problem, p)
}

func severityChip(severity string) chip {
	switch strings.ToLower(severity) {
	case "warn", "warning":
		return chipOf("warn", "Warning")
	case "error", "critical", "alert":
		return chipOf("bad", severity)
	}
	return chipOf("off", severity)
}
