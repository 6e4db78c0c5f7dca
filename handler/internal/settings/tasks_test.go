package settings

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/storage"
)

// TestListSync lists the syncs of CIPP's other extensions as they are, and one
// entry per tenant with its organization, its last end as CIPP's own sync left it,
// and the turn that it has by the schedule.
func TestListSync(t *testing.T) {
	i := install(t)
	i.configure(working, clientSecret)
	i.put("ScheduledTasks", storage.Entity{"PartitionKey": "ScheduledTask", "RowKey": "1", "Hidden": true, "Command": "Push-CippExtensionData", "Tenant": "contoso.example",
		"Name": "Hudu Sync", "SyncType": "Hudu", "ScheduledTime": "1785000000", "Recurrence": "1d", "Results": `["done"]`})
	i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd", "lastStatus", "Completed", "lastStartTime", "2026-08-01T02:45:10.120Z", "lastEndTime", "2026-08-01T02:47:55.001Z"),
		mappingEntity(excluded, "18", "Excluded"), mappingEntity(fabrikam, "x", "Broken"))
	tasks := decode[[]map[string]any](t, i.get("ListExtensionSync"))
	if len(tasks) != 3 {
		t.Fatalf("the syncs are %v", tasks)
	}
	// A tenant without a run of ours is due with the next tick.
	next, err := strconv.ParseInt(fmt.Sprint(tasks[1]["ScheduledTime"]), 10, 64)
	if ahead := time.Until(time.Unix(next, 0)); err != nil || ahead < -time.Minute || ahead > tick {
		t.Errorf("the next sync is at %v, %s ahead", tasks[1]["ScheduledTime"], ahead)
	}
	delete(tasks[1], "ScheduledTime")
	const why = "Failed: the mapping cannot be used, because the NinjaOne organization stored for the tenant is not a number: map the tenant again in CIPP."
	want := []map[string]any{
		{"PartitionKey": "ScheduledTask", "RowKey": "1", "Tenant": "contoso.example", "Name": "Hudu Sync", "SyncType": "Hudu", "ScheduledTime": "1785000000", "ExecutedTime": nil, "RepeatsEvery": "1d", "Results": []any{"done"}},
		{"PartitionKey": "NinjaOneMapping", "RowKey": contoso, "Tenant": "contoso.example", "Name": "Sync to NinjaOne: Contoso Ltd", "Task": "Sync to NinjaOne: Contoso Ltd", "SyncType": "NinjaOne",
			"ExecutedTime": "1785552475", "LastRun": "1785552475", "RepeatsEvery": "1d", "Results": "Completed"},
		{"PartitionKey": "NinjaOneMapping", "RowKey": fabrikam, "Tenant": fabrikam, "Name": "Sync to NinjaOne", "Task": "Sync to NinjaOne", "SyncType": "NinjaOne",
			"ScheduledTime": nil, "ExecutedTime": nil, "RepeatsEvery": "", "Results": why},
	}
	if diff := cmp.Diff(want, tasks); diff != "" {
		t.Error(diff)
	}
}

// TestNextSync says of a tenant when it is synced next, how its last sync ended,
// and why. The time is fixed: for an hour of each day the tenant would be due again.
func TestNextSync(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	completed := runs.Run{TenantID: contoso, Status: runs.Completed, Start: now.Add(-time.Hour), End: now.Add(-50 * time.Minute), LastSuccess: now.Add(-50 * time.Minute)}
	with := func(change func(*runs.Run)) runs.Run {
		r := completed
		change(&r)
		return r
	}
	failed := with(func(r *runs.Run) {
		r.Status, r.Reason, r.Failures = runs.Failed, "Microsoft 365 could not be read: the door is locked", 3
	})
	turn := func(r runs.Run) time.Time { return schedule.Next(contoso, r, now) }
	for name, tt := range map[string]struct {
		run     runs.Run
		config  string
		change  func(*installation)
		next    time.Time // zero for none
		results string
	}{
		"completed": {run: completed, next: turn(completed), results: "Completed"},
		"completed, but for a part": {run: with(func(r *runs.Run) {
			r.Problems = []problems.Problem{{Key: "a", Message: "Not read: secure score"}, {Key: "b", Message: "As wanted.", Notice: true}}
		}), next: turn(completed), results: "Completed, and could not do everything (1): Not read: secure score."},
		"failed":  {run: failed, next: turn(failed), results: "Failed: Microsoft 365 could not be read: the door is locked."},
		"running": {run: with(func(r *runs.Run) { r.Status = runs.Running }), next: completed.Start, results: "Running"},
		"waiting": {run: with(func(r *runs.Run) { r.Queued = now.Add(-time.Minute) }), next: now.Add(-time.Minute), results: "Waiting on the queue. Completed"},
		"paused": {run: failed, change: func(i *installation) { must(t, i.runs.Pause(t.Context(), contoso, true)) },
			results: "Not scheduled: the tenant is paused on this app's console. Failed: Microsoft 365 could not be read: the door is locked."},
		"given back": {run: completed, change: func(i *installation) { i.given = true },
			results: "Not scheduled here: the syncs were given back to CIPP's own engine. Completed"},
		"turned off": {run: completed, change: func(i *installation) { i.configure(strings.Replace(working, "true", "false", 1), "") },
			results: "Not scheduled: the NinjaOne integration is turned off. Completed"},
	} {
		t.Run(name, func(t *testing.T) {
			i := install(t)
			i.now = func() time.Time { return now }
			i.configure(working, clientSecret)
			i.put("CippMapping", mappingEntity(contoso, "17", "Contoso Ltd"))
			must(t, i.runs.Save(t.Context(), tt.run))
			if tt.change != nil {
				tt.change(i)
			}
			task := decode[[]map[string]any](t, i.get("ListExtensionSync"))[0]
			var next any
			if !tt.next.IsZero() {
				next = strconv.FormatInt(tt.next.Unix(), 10)
			}
			if task["ScheduledTime"] != next || task["Results"] != tt.results || task["ExecutedTime"] != strconv.FormatInt(completed.End.Unix(), 10) {
				t.Errorf("the entry is %v, want %v, %q", task, next, tt.results)
			}
		})
	}
}
