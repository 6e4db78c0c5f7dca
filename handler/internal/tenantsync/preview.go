package tenantsync

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// Preview is what a sync of a tenant would write at one moment. Nothing was
// written for it, in NinjaOne, CIPP or our own state.
type Preview struct {
	Tenant         tenant.Ref
	Instance       string // normalised NinjaOne host
	OrganizationID int
	Shared         bool      // other tenants are mapped to the organization too
	At             time.Time // UTC
	Problems       []string  // what could not be read or cannot be written, with what to do
	// Organization comes first in Targets, then the devices by name.
	Targets []PreviewTarget
	// Documents is nil where CIPP's settings ask for none. It is also nil where the
	// preview could not foresee them, which is a problem then.
	Documents *documents.Preview
}

// Size is how many bytes the composed values take, those of documents left out.
func (p *Preview) Size() (bytes int) {
	for _, t := range p.Targets {
		for _, f := range t.Fields {
			bytes += len(f.Value) + len(f.Last)
		}
	}
	return bytes
}

// PreviewTarget is an organization or a device with its fields.
type PreviewTarget struct {
	DeviceID int    // NinjaOne's id; 0 for the organization
	Name     string // of the device; "" for the organization
	// Unmatched: the device is no longer matched, so that what we wrote on it
	// is cleared.
	Unmatched bool
	Fields    []PreviewField
}

// Outcomes of a field in a preview.
const (
	OutcomeUnchanged = "unchanged" // NinjaOne accepted this value before
	OutcomeNew       = "new"       // nothing was written before
	OutcomeChanged   = "changed"   // another value was written before
	OutcomeCleared   = "cleared"   // the field would be cleared
	OutcomeEmpty     = "empty"     // there is nothing to show, and nothing of ours to clear
	OutcomeUnmapped  = "unmapped"  // no usable NinjaOne custom field is mapped, so it is not written
)

// PreviewField is one field as it would be written now.
type PreviewField struct {
	Field    string // CIPP's name, for example TenantSummary; "" of one that is not mapped any more
	NinjaOne string // the NinjaOne custom field; "" when none is mapped
	Value    string // HTML, of DeviceCompliance text; "" for none
	Outcome  string
	// Last is the value that the last sync composed, where it is kept, which is
	// for fields of organizations only. What NinjaOne last accepted for those of
	// a device is read for each device when it is wanted: State.Values.
	Last     string
	HaveLast bool
}

// Preview reads a tenant and makes a plan for it as a sync would, and writes
// nothing. The error says in a sentence for a technician why nothing can be shown.
func (s *Syncer) Preview(ctx context.Context, tenantID string) (*Preview, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	a, err := s.assign(ctx, tenantID, true)
	if err != nil {
		return nil, err
	}
	j := &job{Syncer: s, assignment: a, since: s.Now(), log: s.Log.With("tenant", tenantID)}
	in, err := j.read(ctx)
	if err != nil {
		return nil, err
	}
	plan := in.plan(s.Now())
	p := &Preview{Tenant: a.ref, Instance: a.organization.Instance, OrganizationID: a.organization.ID, Shared: len(j.sharing) > 1, At: s.Now().UTC()}
	last, err := j.section(ctx, a.ref.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range plan.changes {
		t := c.preview(in.records[c.target])
		for i := range t.Fields {
			for _, f := range organizationFields {
				if f.name == t.Fields[i].Field {
					// People see this tenant's section, not those of others.
					t.Fields[i].Value = f.whole(plan.section.Fields)
					if t.Fields[i].HaveLast = last != nil; last != nil {
						t.Fields[i].Last = f.whole(last.Fields)
					}
				}
			}
		}
		p.Targets = append(p.Targets, t)
	}
	slices.SortFunc(p.Targets, func(a, b PreviewTarget) int {
		return cmp.Or(cmp.Compare(min(a.DeviceID, 1), min(b.DeviceID, 1)), words.Compare(a.Name, b.Name), cmp.Compare(a.DeviceID, b.DeviceID))
	})
	if j.withDocuments() {
		if p.Documents, err = s.Documents.Preview(ctx, j.documentsInput(in, plan)); ctx.Err() != nil {
			return nil, err
		} else if err != nil {
			p.Documents = nil
			j.problems.Add("documents", "What would become of documents cannot be said: %s", words.End(err.Error()))
		}
	}
	for _, problem := range j.problems.List() {
		p.Problems = append(p.Problems, problem.Message)
	}
	return p, nil
}

// preview shows what a change would do, given the record of its target.
func (c *change) preview(r *ledger.Record) PreviewTarget {
	out := PreviewTarget{Name: c.name, Unmatched: c.unmatched}
	if c.target.Kind == ledger.KindDevice {
		out.DeviceID = c.target.ID
	}
	if r == nil {
		r = &ledger.Record{}
	}
	for _, f := range c.fields() {
		out.Fields = append(out.Fields, PreviewField{Field: f.name, NinjaOne: f.ninja, Value: f.value.String(), Outcome: f.outcome(r)})
	}
	return out
}

// outcome says what a sync would do with a field.
func (f field) outcome(r *ledger.Record) string {
	have := r.Fields[f.ninja]
	switch {
	case f.ninja == "":
		return OutcomeUnmapped
	case f.value.IsClear() && !ledger.Holds(have):
		return OutcomeEmpty
	case f.value.IsClear():
		return OutcomeCleared
	case have == ledger.Digest(f.value):
		return OutcomeUnchanged
	case !ledger.Holds(have):
		return OutcomeNew
	}
	return OutcomeChanged
}
