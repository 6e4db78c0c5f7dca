package cipp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// fieldNames are CIPP's fields, in the order of its page.
var fieldNames = []string{"TenantLinks", "TenantSummary", "UsersSummary", "DeviceLinks", "DeviceSummary", "DeviceCompliance", "DeviceNonCompliantSettings"}

// FieldChoice is the NinjaOne custom field that one of CIPP's fields goes to.
type FieldChoice struct {
	Field string // CIPP's name, for example TenantLinks
	ID    string // API name of the NinjaOne custom field; "" for none
	Name  string // what the custom field is called on pages
}

// FieldChoices returns the choices made for CIPP's fields, by field. A choice may map a
// field to nothing.
func (s *Store) FieldChoices(ctx context.Context) (map[string]FieldChoice, error) {
	rows, err := s.mappingRows(ctx, legacyFieldPartition, fieldPartition)
	choices := fieldChoices(rows)
	maps.DeleteFunc(choices, func(name string, _ FieldChoice) bool { return !slices.Contains(fieldNames, name) })
	return choices, err
}

// SaveFieldMapping stores choices; the fields that are not among them stay as they are.
// It refuses an unknown field.
func (s *Store) SaveFieldMapping(ctx context.Context, choices []FieldChoice) error {
	var ops []storage.Operation
	for _, c := range choices {
		if !slices.Contains(fieldNames, c.Field) {
			return fmt.Errorf("save the field mapping: CIPP has no field of that name; it has %s", strings.Join(fieldNames, ", "))
		}
		ops = append(ops, storage.MergeOp(storage.Entity{
			"PartitionKey": fieldPartition, "RowKey": c.Field, "IntegrationId": c.ID, "IntegrationName": c.Name,
		}))
	}
	return storage.Doing(s.write(ctx, tableMapping, ops), "save the field mapping")
}

// OrganizationChoice maps a tenant to a NinjaOne organization on a page.
type OrganizationChoice struct {
	TenantID       string // GUID
	OrganizationID int
	Name           string // the organization's
	// Seen is the organization that the tenant was mapped to when the page was read. It
	// is 0 for a choice made since.
	Seen int
}

// MappingChanges is what SaveOrganizationMappings did.
type MappingChanges struct {
	Added, Changed, Removed int
	// What says of each tenant, by its domain, what it was mapped to and is now.
	What []string
}

// note adds one tenant's change.
func (c *MappingChanges) note(domain string, from storedMapping, to OrganizationChoice) {
	before, after := unmapped, unmapped
	if from.mapped {
		before = organizationText(from.OrganizationName, from.OrganizationID)
	}
	if to.OrganizationID > 0 {
		after = organizationText(to.Name, to.OrganizationID)
	}
	c.What = append(c.What, domain+": "+before+" → "+after)
}

// unmapped is how a change calls a tenant that has no organization.
const unmapped = "not mapped"

func organizationText(name string, id int) string {
	return strings.TrimSpace(fmt.Sprintf("%s (%d)", name, id))
}

// SaveOrganizationMappings stores a page's whole list of mappings, as the changes made
// since the page was read:
//
//   - A choice that still says what the page showed changes nothing, whatever
//     somebody else has made of the tenant meanwhile.
//   - Any other choice is stored. Rows that exist keep the times and status of
//     the last sync, unless the organization becomes another one.
//   - A tenant that the page showed and that is not among the choices is
//     unmapped. Rows that a page does not show stay: those of excluded tenants,
//     and those that cannot be used. So does a mapping that was made after the
//     page was read and has not been synced yet.
//
// Read is when the page was read; when that is zero, every mapping older than
// grace counts as shown.
func (s *Store) SaveOrganizationMappings(ctx context.Context, choices []OrganizationChoice, read time.Time) (MappingChanges, error) {
	var changes MappingChanges
	stored, err := s.storedMappings(ctx)
	if err != nil {
		return changes, err
	}
	shown, err := s.Tenants(ctx)
	if err != nil {
		return changes, err
	}
	if read.IsZero() {
		read = s.deps.Now().Add(-grace)
	}
	domains := map[string]string{}
	for _, t := range shown {
		domains[t.ID] = t.DefaultDomain
	}
	var ops []storage.Operation
	wanted := map[string]bool{}
	for _, c := range choices {
		id := guid.Parse(c.TenantID)
		if id == "" || c.OrganizationID <= 0 {
			return changes, errors.New("save the tenant mapping: each mapping needs a tenant id and a NinjaOne organization; nothing was saved")
		}
		if wanted[id] {
			return changes, fmt.Errorf("save the tenant mapping: tenant %s is in the list twice; nothing was saved", id)
		}
		wanted[id] = true
		old := stored[id]
		if c.OrganizationID == c.Seen || (old.mapped && old.OrganizationID == c.OrganizationID && old.OrganizationName == c.Name) {
			continue
		}
		ops = append(ops, old.write(id, c))
		changes.note(cmp.Or(domains[id], id), old, c)
		if old.mapped {
			changes.Changed++
		} else {
			changes.Added++
		}
	}
	for _, t := range shown {
		old := stored[t.ID]
		if wanted[t.ID] || !old.mapped || old.Problem != "" || old.newerThan(read) {
			continue
		}
		for _, e := range old.rows {
			ops = append(ops, storage.DeleteOp(e.PartitionKey(), e.RowKey()))
		}
		changes.Removed++
		changes.note(t.DefaultDomain, old, OrganizationChoice{})
	}
	if err := s.write(ctx, tableMapping, ops); err != nil {
		return MappingChanges{}, fmt.Errorf("save the tenant mapping: %w", err)
	}
	return changes, nil
}

// grace is how recent a mapping must be to outlast a page that cannot say when it was
// read. Such a page lists nothing, or somebody took everything off it.
const grace = 15 * time.Minute

// storedMapping is what table CippMapping holds for one tenant.
type storedMapping struct {
	OrganizationMapping
	mapped bool
	rows   []storage.Entity // the one that counts first
}

// newerThan reports whether the mapping was made after a time, as far as its row tells. A
// sync changes the row too, so a synced mapping is not new.
func (m storedMapping) newerThan(t time.Time) bool {
	row := m.rows[0]
	return row.Timestamp().After(t) && !row.Has("lastStartTime")
}

// write is the operation that maps the tenant anew.
func (m storedMapping) write(tenantID string, c OrganizationChoice) storage.Operation {
	row := mappingColumns(c.OrganizationID, c.Name)
	row["PartitionKey"], row["RowKey"] = orgPartition, tenantID
	for _, e := range m.rows {
		if e.PartitionKey() == orgPartition && guid.Parse(e.RowKey()) != "" {
			row["RowKey"] = e.RowKey() // perhaps in upper case
		}
	}
	if !m.mapped || m.OrganizationID != c.OrganizationID {
		return storage.ReplaceOp(row)
	}
	for _, column := range []string{"lastStartTime", "lastEndTime", "lastStatus"} {
		if v, ok := m.rows[0][column]; ok {
			row[column] = v
		}
	}
	return storage.MergeOp(row)
}

// storedMappings returns the rows of all tenants' mappings, by tenant id. Rows
// that belong to no tenant are left out.
func (s *Store) storedMappings(ctx context.Context) (map[string]storedMapping, error) {
	all, err := s.mappingRows(ctx, orgPartition, legacyOrgPartition)
	if err != nil {
		return nil, err
	}
	rows, _, err := s.byTenant(ctx, all)
	stored := map[string]storedMapping{}
	for id, of := range rows {
		best, mapped := mappingOf(id, of[0])
		stored[id] = storedMapping{best, mapped, of}
	}
	return stored, err
}
