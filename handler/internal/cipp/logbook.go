package cipp

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the zones themselves, which a lean host may lack

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/storage"
)

// Severities of the logbook, all shown by its page without a filter.
const (
	SeverityInfo  = "Info"
	SeverityWarn  = "Warn"
	SeverityError = "Error"
)

// The names under which the logbook shows our lines.
const (
	LogbookSync       = "NinjaOneSync"
	LogbookAutomap    = "NinjaOneAutoMap_Queue"
	LogbookCompliance = "NinjaDeviceCompliance"
	LogbookSettings   = "NinjaOne" // CIPP's own too
)

// LogEntry is one line of CIPP's logbook. Technicians of every customer may read it. So
// like CIPP's lines it holds no secret, and no personal data but who asked.
type LogEntry struct {
	Tenant   string // default domain; "" for a line that concerns no single tenant
	TenantID string // GUID, or ""
	API      string // what the line is about, for example NinjaOneSync
	Message  string
	Severity string // SeverityInfo when ""
	Data     any    // more detail, kept as JSON; nil for none
}

// Log writes a line to CIPP's logbook (table CippLogs).
func (s *Store) Log(ctx context.Context, entry LogEntry) error {
	data := ""
	if entry.Data != nil {
		b, err := json.Marshal(entry.Data)
		if err != nil {
			return fmt.Errorf("write to CIPP's logbook: %w", err)
		}
		data = string(b)
	}
	e := storage.Entity{
		"PartitionKey": s.LogToday(ctx).Format(logDay),
		"RowKey":       uuid.NewString(),
		"Tenant":       cmp.Or(entry.Tenant, "None"),
		"API":          entry.API,
		"Message":      entry.Message,
		"Username":     cmp.Or(s.deps.User(ctx), "CIPP"), // as CIPP's own jobs
		"Severity":     cmp.Or(entry.Severity, SeverityInfo),
		"sentAsAlert":  false,
		"FunctionNode": s.deps.SiteName,
		"LogData":      data,
	}
	if entry.TenantID != "" {
		e["TenantID"] = entry.TenantID
	}
	return storage.Doing(s.add(ctx, tableLogs, e), "write to CIPP's logbook")
}

// Note is Log for what has happened already. A line that cannot be written fails nothing,
// and goes to the app's own log.
func (s *Store) Note(ctx context.Context, entry LogEntry) {
	noting, done := storage.Noting(ctx)
	defer done()
	if err := s.Log(noting, entry); err != nil {
		s.deps.Log.ErrorContext(ctx, "the logbook cannot be written", "error", err)
	}
}

// zoneLife is how long a zone read from CIPP's settings counts.
const zoneLife = 15 * time.Minute

// logZone returns the zone of the logbook's days. That is the setting, else what CIPP
// keeps in its table Config, else UTC. A line in the wrong day's partition is better than
// none, so it never fails.
func (s *Store) logZone(ctx context.Context) *time.Location {
	s.zoneMu.Lock()
	defer s.zoneMu.Unlock()
	if s.zone != nil && s.deps.Now().Sub(s.zoneRead) < zoneLife {
		return s.zone
	}
	name := strings.TrimSpace(s.deps.Timezone)
	if name == "" {
		var err error
		if name, err = s.value(ctx, tableConfig, "TimeSettings", "TimeSettings", "Timezone"); err != nil {
			s.deps.Log.WarnContext(ctx, "CIPP's time zone cannot be read; the logbook's days are UTC for now", "error", err)
		}
	}
	zone, err := time.LoadLocation(strings.TrimSpace(name)) // "" is UTC
	if err != nil || strings.EqualFold(name, "local") {
		s.deps.Log.WarnContext(ctx, "CIPP's time zone is not an IANA name; the logbook's days are UTC", "zone", name)
		zone = time.UTC
	}
	s.zone, s.zoneRead = zone, s.deps.Now()
	return zone
}
