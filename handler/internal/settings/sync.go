package settings

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/tenantsync"
)

// sync is CIPP's ExecExtensionSync: it asks for the sync of one tenant or all.
// Its status is 200 in any case.
func (h *Handlers) sync(_ http.ResponseWriter, r *http.Request) (any, error) {
	if !isNinjaOne(query(r, "Extension")) {
		return results("NinjaOne Sync failed to start: this app can sync NinjaOne only. Start other extensions' syncs in CIPP itself."), nil
	}
	text, err := h.SyncNow(r.Context(), query(r, "TenantID"))
	if errors.Is(err, errNotMapped) {
		return results("Tenant was not found. The sync failed to start: choose a tenant that is mapped to NinjaOne and not excluded."), nil
	}
	return results(text), err
}

// errNotMapped: no tenant of that id or domain is mapped and not excluded.
var errNotMapped = errors.New("nothing was asked for: CIPP knows no mapped tenant of that id")

// SyncNow asks for a forced sync of one tenant, by id or domain. With "" it asks for all
// that are mapped and not excluded. It returns what CIPP tells the person.
func (h *Handlers) SyncNow(ctx context.Context, tenant string) (string, error) {
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
		return "", errNotMapped
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
