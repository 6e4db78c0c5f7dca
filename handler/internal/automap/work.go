package automap

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/tenant"
)

// compareDevices reads the serial numbers of tenants, several at once, to compare
// them with the index of NinjaOne's. A tenant that cannot be read does not stop
// the others. Those of mapped tenants tell whose devices are in an organization.
func (j *job) compareDevices(ctx context.Context, tenants, mapped map[string]tenant.Ref) error {
	j.progress.Tenants = len(tenants)
	if err := j.save(ctx); err != nil {
		return err
	}
	var left []tenant.Ref
	for id, ref := range tenants {
		if _, done := j.progress.Read[id]; !done && j.unread[id] == "" {
			left = append(left, ref)
		}
	}
	var group errgroup.Group
	group.SetLimit(readers)
	for _, ref := range left {
		_, other := mapped[ref.ID]
		group.Go(func() error { return j.readTenant(ctx, ref, other) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// serials returns the serial numbers of a tenant's Intune devices. Of a mapped tenant
// that was synced those are enough that its organization lacks.
func (j *job) serials(ctx context.Context, ref tenant.Ref, mapped bool) ([]string, error) {
	if mapped {
		if serials, synced, err := j.Unmatched(ctx, ref.ID); synced || err != nil {
			return serials, err
		}
	}
	return j.Intune.Serials(ctx, ref)
}

// readTenant reads one tenant's serial numbers, and keeps those that NinjaOne
// knows. The error is not about the tenant.
func (j *job) readTenant(ctx context.Context, ref tenant.Ref, mapped bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, tenantTimeout)
	defer cancel()
	serials, err := j.serials(bounded, ref, mapped)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.log.WarnContext(ctx, "the tenant's Intune devices could not be read", "tenant", ref.ID, "error", err)
		if mapped {
			return nil // nothing is decided about it
		}
		reason := err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			reason = fmt.Sprintf("Microsoft 365 did not give them within %s; try again later", tenantTimeout)
		}
		j.unread[ref.ID] = reason
		return nil
	}
	j.progress.Read[ref.ID] = Reading{Devices: len(serials), Real: match.RealSerials(serials), Serials: j.index.Known(serials)}
	j.advanced = true
	if j.unsaved++; j.unsaved < saveEvery {
		return nil
	}
	return j.save(ctx)
}

// loadIndex obtains the index of NinjaOne's devices. It takes the one that this automap
// read before an interruption. For a single tenant, a recent one will do. Else it reads
// every device. If it cannot read NinjaOne's devices, the automap goes on without.
func (j *job) loadIndex(ctx context.Context) error {
	stored, err := j.storedIndex(ctx)
	if err != nil {
		return err
	}
	if stored != nil {
		j.index = stored.Serials
		return nil
	}
	index := match.SerialIndex{}
	devices := 0
	for d, err := range j.client.AllDevices(ctx) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			j.indexProblem = "NinjaOne's devices could not be read"
			return j.line(ctx, cipp.LogEntry{Severity: cipp.SeverityError,
				Message: fmt.Sprintf("NinjaOne's devices could not be read, so that only names were compared: %s. Start automap again when this is put right.", err)})
		}
		devices++
		index.Add(&d)
	}
	j.log.InfoContext(ctx, "NinjaOne's devices were read", "devices", devices, "serials", len(index))
	j.index = index
	j.advanced = true
	return j.keepIndex(ctx)
}

// write maps the wanted tenants that have a match, several at once, with one logbook line
// each.
func (j *job) write(ctx context.Context, matches []match.OrganizationMatch, wanted map[string]tenant.Ref) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, m := range matches {
		_, asked := wanted[m.Tenant.ID]
		if asked && !j.refused[m.Tenant.ID] {
			group.Go(func() error { return j.writeOne(gctx, m) })
		}
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, j.save(ctx))
}

func (j *job) writeOne(ctx context.Context, m match.OrganizationMatch) error {
	added, err := j.CIPP.AddOrganizationMapping(ctx, m.Tenant.ID, m.Organization.ID, m.Organization.Name)
	if err != nil {
		return err
	}
	if !added {
		j.log.InfoContext(ctx, "the tenant was mapped meanwhile; its mapping stays as it is", "tenant", m.Tenant.ID)
		j.mu.Lock()
		defer j.mu.Unlock()
		j.refused[m.Tenant.ID] = true
		return nil
	}
	j.mu.Lock()
	j.progress.Mapped = append(j.progress.Mapped, Mapped{
		Tenant: nameOf(m.Tenant), OrganizationID: m.Organization.ID, OrganizationName: m.Organization.Name,
		By: m.By, Why: m.Why,
	})
	j.advanced = true
	j.mu.Unlock()
	j.log.InfoContext(ctx, "tenant mapped", "tenant", m.Tenant.ID, "organization", m.Organization.ID, "by", m.By)

	// The mapping stands, and nothing would write its line later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	err = j.line(ctx, cipp.LogEntry{
		Tenant: m.Tenant.DefaultDomain, TenantID: m.Tenant.ID,
		Message: fmt.Sprintf("Mapped %q to NinjaOne organization %q (%d) by %s: %s.",
			m.Tenant.DisplayName, m.Organization.Name, m.Organization.ID, m.By, m.Why),
		Data: map[string]any{"organizationId": m.Organization.ID, "by": m.By, "devices": m.Evidence.Devices, "of": m.Evidence.Of},
	})
	if err != nil {
		j.log.ErrorContext(ctx, "the logbook line of a mapping was not written", "tenant", m.Tenant.ID, "error", err)
	}
	return nil
}
