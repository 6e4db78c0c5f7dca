// Package roster tells which tenants are synced, how their syncs stand, and when each has
// its turns. It reads CIPP's tables and our own at the same time, and decides nothing.
package roster

import (
	"context"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/runs"
)

// Roster is who is synced.
type Roster struct {
	Tenants  []Tenant                   // by default domain
	Unmapped int                        // tenants that are neither mapped nor excluded
	Left     []cipp.OrganizationMapping // mappings of no tenant that is synced
	Pauses   runs.Pauses
}

// Tenant is a tenant that is mapped to an organization and not excluded.
type Tenant struct {
	cipp.MappedTenant
	Run    runs.Run // its last one
	Paused bool
}

// Read reads the roster.
func Read(ctx context.Context, store *cipp.Store, history *runs.Store) (r Roster, err error) {
	var tenants []cipp.Tenant
	var mappings []cipp.OrganizationMapping
	var last map[string]runs.Run
	all, ctx := errgroup.WithContext(ctx)
	Gather(ctx, all, store.Tenants, &tenants)
	Gather(ctx, all, store.OrganizationMappings, &mappings)
	Gather(ctx, all, history.All, &last)
	Gather(ctx, all, history.Pauses, &r.Pauses)
	if err := all.Wait(); err != nil {
		return Roster{}, err
	}
	mapped, left := cipp.Join(tenants, mappings)
	r.Left, r.Unmapped = left, len(tenants)-len(mapped)
	for _, t := range mapped {
		r.Tenants = append(r.Tenants, Tenant{t, last[t.ID], r.Pauses.Paused(t.ID)})
	}
	return r, nil
}

// Gather adds one reading to those that run at once.
func Gather[T any](ctx context.Context, all *errgroup.Group, from func(context.Context) (T, error), to *T) {
	all.Go(func() (err error) {
		*to, err = from(ctx)
		return err
	})
}
