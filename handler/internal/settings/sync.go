package settings

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/words"
)

// sync is CIPP's ExecExtensionSync: it asks for the sync of one tenant or all.
// Its status is 200 in any case.
func (h *Handlers) sync(w http.ResponseWriter, r *http.Request) {
	if !isNinjaOne(query(r, "Extension")) {
		respond(w, http.StatusOK, results("This app can sync NinjaOne only. Start other extensions' syncs in CIPP itself."))
		return
	}
	text, err := h.queueSyncs(r.Context(), query(r, "TenantID"))
	if err != nil {
		h.Log.ErrorContext(r.Context(), "a sync could not be asked for", "error", err)
		text = "Could not start NinjaOne Sync: " + words.End(err.Error())
	}
	respond(w, http.StatusOK, results(text))
}

// queueSyncs asks for forced syncs: of one tenant, by id or domain, or of all
// that are mapped and not excluded.
func (h *Handlers) queueSyncs(ctx context.Context, tenant string) (string, error) {
	config, err := h.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return "", err
	}
	if !config.Enabled {
		return "", errors.New("the NinjaOne integration is turned off: turn it on and save")
	}
	wanted, _, err := h.CIPP.Mapped(ctx)
	if err != nil {
		return "", err
	}
	wanted = slices.DeleteFunc(wanted, func(t cipp.MappedTenant) bool {
		return tenant != "" && !strings.EqualFold(tenant, t.ID) && !strings.EqualFold(tenant, t.DefaultDomain)
	})
	if tenant != "" && len(wanted) != 1 {
		return "Tenant was not found.", nil
	}
	queued, err := h.queueEach(ctx, wanted)
	if queued > 0 {
		h.audit(ctx, "syncs were asked for", "tenants", queued)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%d of %d tenants were queued: %w", queued, len(wanted), err)
	case tenant == "":
		h.CIPP.Note(ctx, cipp.LogEntry{API: cipp.LogbookSync, Message: fmt.Sprintf("Syncs of %d tenants to NinjaOne were asked for.", queued)})
		return fmt.Sprintf("NinjaOne Synchronization Queuing %d Tenants", queued), nil
	}
	t := wanted[0]
	h.CIPP.Note(ctx, cipp.LogEntry{Tenant: t.DefaultDomain, TenantID: t.ID, API: cipp.LogbookSync, Message: "A sync to NinjaOne was asked for."})
	return "NinjaOne Synchronization Queued for " + t.Mapping.OrganizationName, nil
}

// queueAtOnce is how many messages are sent at the same time.
const queueAtOnce = 8

// queueEach sends one message per tenant and tells how many were sent. The
// first failure ends it.
func (h *Handlers) queueEach(ctx context.Context, tenants []cipp.MappedTenant) (queued int, err error) {
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(queueAtOnce)
	for _, t := range tenants {
		group.Go(func() error {
			if gctx.Err() != nil {
				return nil
			}
			at := h.Now() // before the message is there, and may be handled at once
			if err := h.Sync.Send(gctx, tenantsync.Message{TenantID: t.ID, Force: true}, 0); err != nil {
				return err
			}
			mu.Lock()
			queued++
			mu.Unlock()
			return h.Runs.MarkQueued(gctx, t.ID, at)
		})
	}
	err = group.Wait()
	return queued, err
}

// automap asks for a search for the organizations of all tenants that are not
// mapped. The answer is bare text, as CIPP's.
func (h *Handlers) automap(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if err := h.Automap.Send(ctx, struct{}{}, 0); err != nil {
		h.Log.ErrorContext(ctx, "an automap could not be asked for", "error", err)
		mappingFailed(w, err)
		return
	}
	h.audit(ctx, "an automap was asked for")
	respondText(w, http.StatusOK, "AutoMapping has been queued. Matches by name come first, matches by devices take longer. "+
		"CIPP's Logbook tells when it is done; refresh this page then.")
}

// syncTask is an entry of ListExtensionSync.
type syncTask struct {
	RowKey, PartitionKey, Tenant, Name, SyncType string
	ScheduledTime, ExecutedTime                  *string // Unix seconds
	RepeatsEvery                                 string
	Results                                      any
}

// listSync is CIPP's ListExtensionSync: the syncs of other extensions as CIPP
// schedules them, and one entry per tenant that is mapped to NinjaOne. CIPP
// itself has no such entries.
func (h *Handlers) listSync(w http.ResponseWriter, r *http.Request) {
	tasks, err := h.syncTasks(r.Context())
	if err != nil {
		h.Log.ErrorContext(r.Context(), "the syncs cannot be listed", "error", err)
		respond(w, http.StatusInternalServerError, results("The syncs could not be read: "+words.End(err.Error())))
		return
	}
	respond(w, http.StatusOK, tasks)
}

func (h *Handlers) syncTasks(ctx context.Context) ([]syncTask, error) {
	tasks := []syncTask{}
	others, err := h.CIPP.ExtensionTasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range others {
		tasks = append(tasks, syncTask{t.RowKey, t.PartitionKey, t.Tenant, t.Name, t.SyncType, text(t.ScheduledTime), text(t.ExecutedTime), t.Recurrence, jsonOrText(t.Results)})
	}
	tenants, _, err := h.CIPP.Mapped(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		m := t.Mapping
		task := syncTask{RowKey: t.ID, PartitionKey: "NinjaOneMapping", Tenant: t.DefaultDomain,
			Name: "Sync to NinjaOne: " + m.OrganizationName, SyncType: "NinjaOne", RepeatsEvery: "1d",
			ExecutedTime: unix(m.LastEnd)}
		if m.LastStatus != "" {
			task.Results = m.LastStatus
		}
		if !m.LastStart.IsZero() {
			task.ScheduledTime = unix(m.LastStart.Add(24 * time.Hour))
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
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
