package tenantsync

import (
	"context"
	"fmt"
	"slices"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
)

// holders returns, of the devices that match this tenant's, those that show what
// another tenant of the organization has, and whose. A device stays with its
// holder while the holder's last run matched it and the holder is mapped to the
// organization; then it is free for this tenant.
func (j *job) holders(ctx context.Context, in *reading, pairs []match.Pair) (map[int]string, error) {
	held := map[int]string{}
	matched := map[string][]int{} // devices that the last run of a holder matched
	for _, p := range pairs {
		r := in.records[ledger.Device(p.Ninja.ID)]
		if r == nil || r.TenantID == "" || in.clears(r, j.ref.ID) || !r.HoldsAny() {
			continue
		}
		if _, read := matched[r.TenantID]; !read {
			theirs, err := devicematch.Load(ctx, j.Blobs, r.TenantID)
			if err != nil {
				return nil, err
			}
			matched[r.TenantID] = []int{}
			for _, k := range theirs.Pairs {
				matched[r.TenantID] = append(matched[r.TenantID], k.NinjaOneID)
			}
		}
		if slices.Contains(matched[r.TenantID], p.Ninja.ID) {
			held[p.Ninja.ID] = r.TenantID
		}
	}
	return held, nil
}

// weighClaims finds the devices that match devices of two tenants of the
// organization, notes this tenant's claims where the holder's runs see them, and
// tells of both sides. It returns the devices that another tenant holds.
func (j *job) weighClaims(ctx context.Context, in *reading, pairs []match.Pair) (map[int]string, error) {
	held, err := j.holders(ctx, in, pairs)
	if err != nil {
		return nil, err
	}
	matched := map[int]bool{}
	for _, p := range pairs {
		matched[p.Ninja.ID] = true
		if holder := held[p.Ninja.ID]; holder != "" {
			j.tellClaim(fmt.Sprintf("device %d (%s) shows what tenant %s has", p.Ninja.ID, devicematch.NameOf(p.Ninja), j.nameOf(ctx, holder)))
		}
	}
	var changed []*ledger.Record
	for t, r := range in.records {
		if t.Kind != ledger.KindDevice {
			continue
		}
		if r.TenantID == j.ref.ID && matched[t.ID] {
			for _, id := range r.Claims {
				if slices.Contains(j.sharing, id) {
					j.tellClaim(fmt.Sprintf("device %d shows what this tenant has, and matches a device of tenant %s", t.ID, j.nameOf(ctx, id)))
				}
			}
		}
		contested := held[t.ID] != ""
		if claimed := slices.Contains(r.Claims, j.ref.ID); claimed != contested {
			r.Claims = slices.DeleteFunc(r.Claims, func(id string) bool { return id == j.ref.ID })
			if contested {
				r.Claims = append(r.Claims, j.ref.ID)
			}
			changed = append(changed, r)
		}
	}
	return held, j.Ledger.SaveClaims(ctx, j.organization(), changed...)
}

// tellClaim tells of one more device that two tenants claim.
func (j *job) tellClaim(what string) {
	j.problems.Count("claimed", what, func(n int, first string) string {
		return fmt.Sprintf("%d NinjaOne devices match devices of two tenants of the organization, and each stays with the tenant that had it first: %s "+
			"Retire the Intune record that is not of the machine, or correct its serial number.", n, sentence(first))
	})
}

// nameOf names a tenant for technicians: by its default domain, or else its id.
func (j *job) nameOf(ctx context.Context, tenantID string) string {
	if t, err := j.CIPP.Tenant(ctx, tenantID); err == nil && t.DefaultDomain != "" {
		return t.DefaultDomain
	}
	return tenantID
}
