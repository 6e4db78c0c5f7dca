package tenantsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/storage"
)

// columnClaims holds, in the record of a device, the other tenants of the
// organization whose devices match it too, by id.
const columnClaims = "Claims"

// holders returns, of the devices that match this tenant's, those that show what
// another tenant of the organization has, and whose. A device stays with its
// holder while the holder's last run matched it and the holder is mapped to the
// organization; then it is free for this tenant.
func (j *job) holders(ctx context.Context, in *reading, pairs []match.Pair) (map[int]string, error) {
	held := map[int]string{}
	matched := map[string][]int{} // devices that the last run of a holder matched
	for _, p := range pairs {
		r := in.records[target{kindDevice, p.Ninja.ID}]
		if r == nil || r.tenantID == "" || in.clears(r, j.ref.ID) || !r.holdsAny() {
			continue
		}
		if _, read := matched[r.tenantID]; !read {
			theirs, _, err := loadMatches(ctx, j.Blobs, r.tenantID)
			if err != nil {
				return nil, err
			}
			matched[r.tenantID] = []int{}
			for _, k := range theirs.Pairs {
				matched[r.tenantID] = append(matched[r.tenantID], k.NinjaOneID)
			}
		}
		if slices.Contains(matched[r.tenantID], p.Ninja.ID) {
			held[p.Ninja.ID] = r.tenantID
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
			j.tellClaim(fmt.Sprintf("device %d (%s) shows what tenant %s has", p.Ninja.ID, nameOf(p.Ninja), j.nameOf(ctx, holder)))
		}
	}
	var changed []storage.Operation
	for t, r := range in.records {
		if t.kind != kindDevice {
			continue
		}
		if r.tenantID == j.ref.ID && matched[t.id] {
			for _, id := range r.claims {
				if slices.Contains(j.sharing, id) {
					j.tellClaim(fmt.Sprintf("device %d shows what this tenant has, and matches a device of tenant %s", t.id, j.nameOf(ctx, id)))
				}
			}
		}
		contested := held[t.id] != ""
		if claimed := slices.Contains(r.claims, j.ref.ID); claimed != contested {
			r.claims = slices.DeleteFunc(r.claims, func(id string) bool { return id == j.ref.ID })
			if contested {
				r.claims = append(r.claims, j.ref.ID)
			}
			changed = append(changed, storage.MergeOp(storage.Entity{"PartitionKey": partition(j.instance, j.mapping.OrganizationID), "RowKey": rowKey(t),
				columnClaims: strings.Join(r.claims, " ")}))
		}
	}
	if err := j.State.table.WriteBatch(ctx, changed); err != nil {
		return nil, fmt.Errorf("note which devices of NinjaOne organization %d two tenants claim: %w", j.mapping.OrganizationID, err)
	}
	return held, nil
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
