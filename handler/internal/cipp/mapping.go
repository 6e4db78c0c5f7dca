package cipp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// The partitions of table CippMapping. Those of CIPP's first NinjaOne version count where
// the present ones have no row. This package does not move their rows.
const (
	fieldPartition       = "NinjaOneFieldMapping"
	legacyFieldPartition = "NinjaFieldMapping"
	orgPartition         = "NinjaOneMapping"
	legacyOrgPartition   = "NinjaOrgsMapping"
)

// Mappings is all that table CippMapping says of NinjaOne.
type Mappings struct {
	// Fields is the NinjaOne custom field (by API name) that each of CIPP's fields goes
	// to. CIPP names them TenantLinks, TenantSummary, UsersSummary, DeviceLinks,
	// DeviceSummary, DeviceCompliance, DeviceNonCompliantSettings. A field that is not
	// mapped is absent.
	Fields map[string]string
	// FieldsSaid is whether the table has any row of fields. Without one it does not say
	// that any field is not synchronised.
	FieldsSaid bool
	// Organizations are the tenants that are mapped to a NinjaOne organization, by
	// tenant id, each once. Several tenants may share one organization. Rows that
	// cannot be used are among them, with their Problem.
	Organizations []OrganizationMapping
}

// Mappings reads table CippMapping at once.
func (s *Store) Mappings(ctx context.Context) (m Mappings, err error) {
	rows, err := s.mappingRows(ctx, legacyFieldPartition, fieldPartition, orgPartition, legacyOrgPartition)
	if err != nil {
		return m, err
	}
	m.Fields = mappedFields(fieldChoices(rows))
	m.FieldsSaid = slices.ContainsFunc(rows, isField)
	m.Organizations, err = s.organizations(ctx, rows)
	return m, err
}

// mappingRows reads partitions of the table, "NinjaFieldMapping" before
// "NinjaOneFieldMapping".
func (s *Store) mappingRows(ctx context.Context, partitions ...string) (rows []storage.Entity, err error) {
	var filters []string
	for _, p := range partitions {
		filters = append(filters, storage.Eq("PartitionKey", p))
	}
	for e, err := range s.rows(ctx, tableMapping, storage.Or(filters...)) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's mapping to NinjaOne: %w", err)
		}
		rows = append(rows, e)
	}
	return rows, nil
}

func isField(e storage.Entity) bool {
	return e.PartitionKey() == fieldPartition || e.PartitionKey() == legacyFieldPartition
}

func mappedFields(choices map[string]FieldChoice) map[string]string {
	fields := map[string]string{}
	for name, c := range choices {
		if c.ID != "" {
			fields[name] = c.ID
		}
	}
	return fields
}

// fieldChoices are the choices in the mapping of fields, by CIPP's field name.
func fieldChoices(rows []storage.Entity) map[string]FieldChoice {
	choices := map[string]FieldChoice{}
	for _, e := range rows {
		if !isField(e) {
			continue
		}
		id, name := "IntegrationId", "IntegrationName"
		if e.PartitionKey() == legacyFieldPartition {
			id, name = "NinjaOne", "NinjaOneName"
		}
		// A row of the present partition counts even if it is empty: CIPP stores "do not
		// synchronize" so.
		c := FieldChoice{Field: e.RowKey(), ID: strings.TrimSpace(e.String(id)), Name: e.String(name)}
		if c.ID == "-1" {
			c.ID = ""
		}
		choices[c.Field] = c
	}
	return choices
}

// OrganizationMapping says which NinjaOne organization a tenant goes to, and what CIPP's
// pages show of its last sync.
type OrganizationMapping struct {
	TenantID         string // lower case; "" when the row's key is not a tenant of CIPP
	OrganizationID   int    // NinjaOne's id; 0 when Problem says that there is none
	OrganizationName string // as it was when it was mapped
	LastStart        time.Time
	LastEnd          time.Time
	LastStatus       string // Running, Completed, Failed or ""
	// Problem says, for a technician, why the row cannot be used; "" when it can.
	Problem string

	partition, row string // where it is stored
}

// UnmappedFor is how long a tenant must have been unmapped before what is kept of it
// goes. CIPP's table may have been empty, or another one, for a while, and people change
// their minds.
const UnmappedFor = 24 * time.Hour

// AllNamed reports whether each row names its tenant and organization. Else one may be of
// a tenant that seems to be unmapped, so that they do not prove it.
func AllNamed(mappings []OrganizationMapping) bool {
	return !slices.ContainsFunc(mappings, func(m OrganizationMapping) bool { return m.TenantID == "" || m.OrganizationID == 0 })
}

// OrganizationMappings returns Mappings.Organizations alone.
func (s *Store) OrganizationMappings(ctx context.Context) ([]OrganizationMapping, error) {
	rows, err := s.mappingRows(ctx, orgPartition, legacyOrgPartition)
	if err != nil {
		return nil, err
	}
	return s.organizations(ctx, rows)
}

func (s *Store) organizations(ctx context.Context, all []storage.Entity) ([]OrganizationMapping, error) {
	rows, lost, err := s.byTenant(ctx, all)
	if err != nil {
		return nil, err
	}
	mappings := []OrganizationMapping{}
	for id, of := range rows {
		if m, ok := mappingOf(id, of[0]); ok {
			mappings = append(mappings, m)
		}
	}
	slices.SortFunc(mappings, func(a, b OrganizationMapping) int { return cmp.Compare(a.TenantID, b.TenantID) })
	for _, e := range lost {
		if m, ok := mappingOf("", e); ok {
			m.OrganizationID = 0
			m.Problem = fmt.Sprintf("the row %q is the domain of no tenant that CIPP knows: remove it and map the tenant again in CIPP", e.RowKey())
			mappings = append(mappings, m)
		}
	}
	return mappings, nil
}

// byTenant returns the mapping's rows of organizations by tenant id, and the rows that
// belong to no tenant. A tenant's row that counts comes first.
func (s *Store) byTenant(ctx context.Context, all []storage.Entity) (rows map[string][]storage.Entity, lost []storage.Entity, err error) {
	var tenants []Tenant
	rows = map[string][]storage.Entity{}
	for _, e := range all {
		if isField(e) {
			continue
		}
		id := guid.Parse(e.RowKey())
		if id == "" { // a domain, which one version of CIPP's pages wrote
			if tenants == nil {
				if tenants, err = s.AllTenants(ctx); err != nil {
					return nil, nil, err
				}
			}
			t, _ := Named(tenants, e.RowKey())
			id = t.ID
		}
		if id == "" {
			lost = append(lost, e)
			continue
		}
		rows[id] = append(rows[id], e)
	}
	for _, of := range rows {
		slices.SortStableFunc(of, func(a, b storage.Entity) int { return cmp.Compare(rankOf(b), rankOf(a)) })
	}
	return rows, lost, nil
}

// rankOf orders rows of one tenant: the present partition before the legacy one, then a
// GUID before a domain.
func rankOf(e storage.Entity) int {
	rank := 1
	if guid.Parse(e.RowKey()) != "" {
		rank++
	}
	if e.PartitionKey() == orgPartition {
		rank += 2
	}
	return rank
}

// MappedTenant is a tenant that is synced to an organization.
type MappedTenant struct {
	Tenant
	Mapping OrganizationMapping
}

// Mapped returns the tenants that are synced, by default domain: mapped to an
// organization, and not excluded. The mappings that belong to none of them are
// left.
func (s *Store) Mapped(ctx context.Context) (mapped []MappedTenant, left []OrganizationMapping, err error) {
	tenants, err := s.Tenants(ctx)
	if err != nil {
		return nil, nil, err
	}
	mappings, err := s.OrganizationMappings(ctx)
	if err != nil {
		return nil, nil, err
	}
	mapped, left = Join(tenants, mappings)
	return mapped, left, nil
}

// Join is Mapped of what was read already.
func Join(tenants []Tenant, mappings []OrganizationMapping) (mapped []MappedTenant, left []OrganizationMapping) {
	usable := map[string]OrganizationMapping{} // by tenant
	for _, m := range mappings {
		if m.OrganizationID != 0 {
			usable[m.TenantID] = m
		}
	}
	for _, t := range tenants {
		if m, ok := usable[t.ID]; ok && !t.Excluded {
			mapped = append(mapped, MappedTenant{t, m})
			delete(usable, t.ID)
		}
	}
	for _, m := range mappings {
		if _, ok := usable[m.TenantID]; ok || m.OrganizationID == 0 {
			left = append(left, m)
		}
	}
	return mapped, left
}

// mappingOf reads one row; false when it maps to nothing.
func mappingOf(tenantID string, e storage.Entity) (OrganizationMapping, bool) {
	idColumn, nameColumn := "IntegrationId", "IntegrationName"
	if e.PartitionKey() == legacyOrgPartition {
		idColumn, nameColumn = "NinjaOne", "NinjaOneName"
	}
	m := OrganizationMapping{
		TenantID:         tenantID,
		OrganizationName: e.String(nameColumn),
		LastStart:        e.Time("lastStartTime"),
		LastEnd:          e.Time("lastEndTime"),
		LastStatus:       e.String("lastStatus"),
		partition:        e.PartitionKey(),
		row:              e.RowKey(),
	}
	text := strings.TrimSpace(e.String(idColumn))
	if text == "" {
		return m, false
	}
	id, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err != nil:
		m.Problem = "the NinjaOne organization stored for the tenant is not a number: map the tenant again in CIPP"
	case id <= 0:
		return m, false // -1 is the entry CIPP's page offers when NinjaOne cannot be reached
	default:
		m.OrganizationID = int(id)
	}
	return m, true
}

// enginesRun is longer than any run of CIPP, whose functions end after ten minutes. A run
// without an end by then was killed.
const enginesRun = 30 * time.Minute

// EngineRanAfter reports whether CIPP's own engine may have written to NinjaOne after a
// run of ours began. The row then shows a run of CIPP that ended since. Before our first
// run there is nothing of ours to put right. CIPP saves its own start with its end; ours
// is saved once, at the beginning.
func (m OrganizationMapping) EngineRanAfter(ours, now time.Time) bool {
	if ours.IsZero() || m.LastStart.IsZero() {
		return false
	}
	// The row's times have milliseconds. Where only the start is ours, a run of
	// CIPP found ours under way and gave up.
	if m.LastStart.Equal(ours.Truncate(time.Millisecond)) {
		return false
	}
	if !m.LastStart.After(ours) && !m.LastEnd.After(ours) {
		return false
	}
	return !m.LastEnd.Before(m.LastStart) || now.Sub(m.LastStart) > enginesRun
}

// RecordRun writes the state of a tenant's sync into its mapping row, where CIPP's own
// code looks for it. A zero time leaves its column as it is. A mapping that was removed
// meanwhile stays removed; that is not an error.
func (s *Store) RecordRun(ctx context.Context, m OrganizationMapping, start, end time.Time, status string) error {
	e := storage.Entity{
		"PartitionKey": cmp.Or(m.partition, orgPartition),
		"RowKey":       cmp.Or(m.row, m.TenantID),
		"lastStatus":   status,
	}
	if !start.IsZero() {
		e["lastStartTime"] = formatTime(start)
	}
	if !end.IsZero() {
		e["lastEndTime"] = formatTime(end)
	}
	err := s.table(tableMapping).MergeIfMatch(ctx, e, storage.AnyETag)
	if errors.Is(err, storage.ErrNotFound) {
		s.deps.Log.InfoContext(ctx, "the tenant's mapping was removed in CIPP; its run is not recorded there", "tenant", m.TenantID)
		return nil
	}
	return storage.Doing(err, "record the sync of tenant %s in CIPP's mapping", m.TenantID)
}
