package schedule

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/alarm"
	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/seed"
)

var must = fail.If

func TestOverdue(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := map[string]struct {
		run  runs.Run
		want bool
	}{
		"new":                               {runs.Run{}, false},
		"just queued":                       {runs.Run{Queued: ago(time.Hour)}, false},
		"queued a day ago, and never run":   {runs.Run{Queued: ago(27 * time.Hour)}, true},
		"synced a day ago":                  {runs.Run{Start: ago(24 * time.Hour), LastSuccess: ago(24 * time.Hour), Status: runs.Completed}, false},
		"synced too long ago":               {runs.Run{Start: ago(27 * time.Hour), LastSuccess: ago(27 * time.Hour), Status: runs.Completed}, true},
		"tried since, without success":      {runs.Run{Start: ago(time.Minute), LastSuccess: ago(27 * time.Hour), Status: runs.Running}, true},
		"failed once, never synced":         {runs.Run{Start: ago(time.Hour), End: ago(time.Hour), Status: runs.Failed, Failures: 1}, false},
		"failed once, not too long ago":     {runs.Run{Start: ago(alarm.Overdue - 10*time.Minute), End: ago(alarm.Overdue - 10*time.Minute), Status: runs.Failed, Failures: 1}, false},
		"failed for half a day":             {runs.Run{Start: ago(time.Hour), End: ago(time.Hour), Status: runs.Failed, Failures: 6}, false},
		"failed for more than a day":        {runs.Run{Start: ago(time.Hour), End: ago(time.Hour), Status: runs.Failed, Failures: 10}, true},
		"failed for ever":                   {runs.Run{Start: ago(time.Hour), End: ago(time.Hour), Status: runs.Failed, Failures: 1 << 60}, true},
		"first sync under way":              {runs.Run{Start: ago(time.Hour), Status: runs.Running}, false},
		"first sync under way for too long": {runs.Run{Start: ago(27 * time.Hour), Status: runs.Running}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := overdue(tt.run, now); got != tt.want {
				t.Errorf("overdue = %v, want %v", got, tt.want)
			}
		})
	}
}

// A tick names the tenants that are overdue, but not one that somebody paused.
func TestOverdueTenantsRaiseAnAlarm(t *testing.T) {
	data := seed.Generate(seed.Size{Tenants: 3, Users: 1})
	connection := azuritetest.ForTest(t).ConnectionString()
	settings := map[string]string{storage.Own: connection, storage.CIPP: connection, "NonLocalHostAzurite": "true"}
	account, err := storage.Open(func(name string) string { return settings[name] }, storage.Own)
	must(t, err)
	must(t, seed.WriteCIPPTables(t.Context(), connection, data))
	now := time.Now()
	table := account.Table(layout.TableName)
	known, store := runs.New(table), cipptest.Store(account)
	late, paused, fine := data.Tenants[0].ID, data.Tenants[1].ID, data.Tenants[2].ID
	for id, ago := range map[string]time.Duration{late: 27 * time.Hour, paused: 27 * time.Hour, fine: time.Hour} {
		run := runs.Run{TenantID: id, Status: runs.Completed, Start: now.Add(-ago), End: now.Add(-ago), LastSuccess: now.Add(-ago)}
		must(t, known.Save(t.Context(), run))
	}
	must(t, known.Pause(t.Context(), paused, true))
	var log bytes.Buffer
	s := &Scheduler{CIPP: store, Runs: known, Problems: &problems.Book{Table: table, Log: store.Log, API: "NinjaOneSync"}, Queue: account.Queue(tenantsync.QueueName),
		Now: func() time.Time { return now }, Log: slog.New(slog.NewJSONHandler(&log, nil))}
	for tick := 1; tick <= 2; tick++ {
		must(t, s.Tick(t.Context()))
		if got := strings.Count(log.String(), fmt.Sprintf(`"alarm":%q,"count":1,"tenants":[%q]`, alarm.TenantsOverdue, late)); got != tick {
			t.Errorf("after %d ticks the alarm was raised %d times for the tenant that it is about:\n%s", tick, got, log.String())
		}
	}
}
