package settings

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/roster"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/schedule"
	"cipp-ninjaone/handler/internal/words"
)

// syncTask is an entry of ListExtensionSync. Times are Unix seconds as text.
// CIPP's page has the columns Task and LastRun, and shows no Name.
type syncTask struct {
	RowKey, PartitionKey, Tenant, Name, SyncType string
	ScheduledTime, ExecutedTime                  *string
	RepeatsEvery                                 string
	Results                                      any
	Task                                         string  `json:",omitempty"`
	LastRun                                      *string `json:",omitempty"`
}

// listSync is CIPP's ListExtensionSync. It lists the syncs of other extensions as CIPP
// schedules them. It adds one entry per tenant that is mapped to NinjaOne, which CIPP
// itself does not have.
func (h *Handlers) listSync(_ http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	tasks := []syncTask{}
	others, err := h.CIPP.ExtensionTasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range others {
		tasks = append(tasks, syncTask{RowKey: t.RowKey, PartitionKey: t.PartitionKey, Tenant: t.Tenant, Name: t.Name, SyncType: t.SyncType,
			ScheduledTime: text(t.ScheduledTime), ExecutedTime: text(t.ExecutedTime), RepeatsEvery: t.Recurrence, Results: jsonOrText(t.Results)})
	}
	config, err := h.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return nil, err
	}
	given, err := h.GivenBack(ctx)
	if err != nil {
		return nil, err
	}
	all, err := roster.Read(ctx, h.CIPP, h.Runs)
	if err != nil {
		return nil, err
	}
	now := h.Now()
	for _, t := range all.Tenants {
		next, why := nextSync(t, config.Enabled, given, now)
		executed := t.Run.End
		if t.Mapping.LastEnd.After(executed) {
			executed = t.Mapping.LastEnd // CIPP's own sync writes it too
		}
		task := syncTask{RowKey: t.ID, PartitionKey: "NinjaOneMapping", Tenant: t.DefaultDomain,
			SyncType: "NinjaOne", RepeatsEvery: "1d", ScheduledTime: unix(next), ExecutedTime: unix(executed), LastRun: unix(executed)}
		task.Name = "Sync to NinjaOne: " + cmp.Or(t.Mapping.OrganizationName, strconv.Itoa(t.Mapping.OrganizationID))
		task.Task = task.Name
		if said := strings.TrimSpace(why + " " + outcome(t)); said != "" {
			task.Results = said
		}
		tasks = append(tasks, task)
	}
	for _, m := range all.Left {
		if m.Problem != "" {
			tasks = append(tasks, syncTask{RowKey: m.TenantID, PartitionKey: "NinjaOneMapping", Tenant: cmp.Or(m.TenantID, "None"), SyncType: "NinjaOne",
				Name: "Sync to NinjaOne", Task: "Sync to NinjaOne", Results: "Failed: the mapping cannot be used, because " + words.End(m.Problem)})
		}
	}
	return tasks, nil
}

// tick is how often the schedule looks for tenants that are due.
const tick = 15 * time.Minute

// nextSync returns when the schedule has a tenant's next sync, or the zero time and why
// there is none. A tenant that waits on the queue has been due since its message was
// sent.
func nextSync(t roster.Tenant, enabled, given bool, now time.Time) (next time.Time, why string) {
	switch {
	case !enabled:
		return time.Time{}, "Not scheduled: the NinjaOne integration is turned off."
	case given:
		return time.Time{}, "Not scheduled here: the syncs were given back to CIPP's own engine."
	case t.Run.Queued.After(t.Run.Start):
		return t.Run.Queued, "Waiting on the queue."
	case t.Run.Status == runs.Running:
		return t.Run.Start, ""
	case t.Paused:
		return time.Time{}, "Not scheduled: the tenant is paused on this app's console."
	}
	if next = schedule.Next(t.ID, t.Run, now); !next.After(now) {
		next = now.Truncate(tick).Add(tick)
	}
	return next, ""
}

// maxOutcome bounds what an entry says of a run, in characters.
const maxOutcome = 2000

// outcome is how a tenant's last sync ended, and why.
func outcome(t roster.Tenant) string {
	if t.Run.Start.IsZero() {
		return t.Mapping.LastStatus // as CIPP's own sync left it
	}
	said := t.Run.Status
	switch bad := reasons(t.Run.Problems); {
	case t.Run.Status == runs.Failed:
		said += ": " + words.End(t.Run.Reason)
	case t.Run.Status == runs.Completed && len(bad) > 0:
		said += fmt.Sprintf(", and could not do everything (%d): %s", len(bad), strings.Join(bad, " "))
	}
	return words.Clip(said, maxOutcome)
}

func reasons(all []problems.Problem) (bad []string) {
	for _, p := range all {
		if !p.Notice {
			bad = append(bad, words.End(p.Message))
		}
	}
	return bad
}

func unix(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return text(strconv.FormatInt(t.Unix(), 10))
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
