package tenantsync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
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
	// Documents is nil where CIPP's settings ask for none, or where they could
	// not be foreseen, which is a problem then.
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

// Preview reads and composes a tenant as a sync would, and writes nothing. The
// error says in a sentence for a technician why nothing can be shown.
func (s *Syncer) Preview(ctx context.Context, tenantID string) (*Preview, error) {
	j, err := s.preparePreview(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	in, err := j.read(ctx)
	if err != nil {
		return nil, err
	}
	j.strays(in)
	in.heal(in.fields[deviceCompliance], j.roster)
	if _, _, _, err := j.foresee(ctx, in); err != nil {
		return nil, err
	}
	for reason, names := range absentParts(in.snapshot) {
		j.problems.Add("part:"+reason, "Not read: %s, because %s", strings.Join(names, ", "), sentence(reason))
	}
	result := match.Result{}
	matchable := in.snapshot.DevicesKnown() && !j.roster.Unusable
	switch {
	case matchable:
		if result, err = j.matchDevices(ctx, in); err != nil {
			return nil, err
		}
	case j.roster.Unusable:
		if result, err = j.formerMatches(ctx, in); err != nil {
			return nil, err
		}
	}
	input := j.input(in, result)
	p := &Preview{Tenant: j.ref, Instance: j.instance, OrganizationID: j.mapping.OrganizationID, Shared: len(j.sharing) > 1, At: j.Now().UTC()}
	organization, err := j.previewOrganization(ctx, in, input)
	if err != nil {
		return nil, err
	}
	p.Targets = append(p.Targets, organization)
	if matchable {
		devices, err := j.previewDevices(ctx, in, input)
		if err != nil {
			return nil, err
		}
		p.Targets = append(p.Targets, devices...)
	}
	j.previewFormer(in, p)
	if err := j.previewDocuments(ctx, input, p); err != nil {
		return nil, err
	}
	for _, problem := range j.problems.List() {
		p.Problems = append(p.Problems, problem.Message)
	}
	return p, nil
}

// previewDocuments foresees the documents, where CIPP's settings ask for them.
func (j *job) previewDocuments(ctx context.Context, input compose.Input, p *Preview) error {
	if !j.withDocuments() {
		return nil
	}
	var err error
	if p.Documents, err = j.Documents.Preview(ctx, j.documentsInput(input)); err != nil {
		if ctx.Err() != nil {
			return err
		}
		p.Documents = nil
		j.problems.Add("documents", "What would become of documents cannot be said: %s", sentence(err.Error()))
	}
	return nil
}

// preparePreview finds what a run of the tenant would work with.
func (s *Syncer) preparePreview(ctx context.Context, tenantID string) (*job, error) {
	config, err := s.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.CIPP.Tenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	mappings, err := s.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return nil, err
	}
	j := &job{Syncer: s, ref: t.Ref, config: config, log: s.Log.With("tenant", tenantID)}
	for _, m := range mappings {
		if m.TenantID == t.ID {
			j.mapping = m
		}
	}
	switch {
	case j.mapping.Problem != "":
		return nil, errors.New(j.mapping.Problem)
	case j.mapping.OrganizationID == 0:
		return nil, errors.New("the tenant is not mapped to a NinjaOne organization: map it first")
	}
	if j.instance, err = ninjaone.NormalizeInstance(config.Instance); err != nil {
		return nil, err
	}
	return j, j.share(ctx, mappings)
}

// input is what the fields are composed from.
func (j *job) input(in *reading, result match.Result) compose.Input {
	return compose.Input{
		Snapshot: in.snapshot, Matches: result,
		NinjaHost: j.instance, CIPPHost: in.portal,
		LicensedOnly: j.config.LicensedOnly,
		ExcludedSKUs: in.excluded, SKUNames: in.skuNames, Standards: in.standards,
		Shared: len(j.sharing) > 1,
		Today:  j.Now().UTC(),
	}
}

// previewOrganization shows this tenant's section, and compares the whole
// field, with the sections of other tenants, with what NinjaOne holds.
func (j *job) previewOrganization(ctx context.Context, in *reading, input compose.Input) (PreviewTarget, error) {
	composed, err := j.ownSection(input)
	own := composed.Fields
	if err != nil {
		return PreviewTarget{}, fmt.Errorf("the organization's fields could not be composed: %w", err)
	}
	t := j.organization().Target()
	whole, _, err := j.joined(ctx, composed, in.fields)
	if err != nil {
		return PreviewTarget{}, err
	}
	last, kept := section{}, true
	body, err := j.Blobs.Get(ctx, j.sectionName(j.ref.ID))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		kept = false
	case err != nil:
		return PreviewTarget{}, fmt.Errorf("read what was composed last: %w", err)
	default:
		kept = json.Unmarshal(body, &last) == nil
	}
	out := PreviewTarget{}
	for _, f := range []struct{ name, value, last string }{
		{tenantLinks, own.TenantLinks, last.Fields.TenantLinks},
		{tenantSummary, own.TenantSummary, last.Fields.TenantSummary},
		{usersSummary, own.UsersSummary, last.Fields.UsersSummary},
	} {
		name := in.fields[f.name]
		out.Fields = append(out.Fields, PreviewField{
			Field: f.name, NinjaOne: name, Value: f.value, Last: f.last, HaveLast: kept,
			Outcome: outcomeOf(in.records[t], name, whole[name]),
		})
	}
	return out, nil
}

// previewDevices shows the matched devices, and those whose fields would be
// cleared, those of a tenant that was unmapped among them.
func (j *job) previewDevices(ctx context.Context, in *reading, input compose.Input) ([]PreviewTarget, error) {
	devices, err := compose.NewDevices(input)
	if err != nil {
		return nil, fmt.Errorf("the devices' fields could not be composed: %w", err)
	}
	held, err := j.holders(ctx, in, input.Matches.Pairs)
	if err != nil {
		return nil, err
	}
	var out []PreviewTarget
	seen := map[int]bool{}
	for _, p := range input.Matches.Pairs {
		if held[p.Ninja.ID] != "" {
			continue
		}
		f, err := devices.Fields(p)
		if err != nil {
			j.problems.Add(fmt.Sprint("device:", p.Ninja.ID), "NinjaOne device %d could not be composed: %v", p.Ninja.ID, err)
			continue
		}
		seen[p.Ninja.ID] = true
		d := j.previewDevice(in, p.Ninja.ID, devicematch.NameOf(p.Ninja), f)
		if p.Intune.ComplianceState == "" {
			d.Fields = slices.DeleteFunc(d.Fields, func(f PreviewField) bool { return f.Field == deviceCompliance })
		}
		out = append(out, d)
	}
	names := map[int]string{}
	for i := range in.devices {
		names[in.devices[i].ID] = devicematch.NameOf(&in.devices[i])
	}
	nameless := in.nameless()
	for t, r := range in.records {
		if t.Kind == ledger.KindDevice && in.clears(r, j.ref.ID) && !seen[t.ID] && j.roster.Clearable(t.ID) && !nameless {
			d := j.previewDevice(in, t.ID, names[t.ID], compose.DeviceFields{})
			d.Unmatched = true
			out = append(out, d)
		}
	}
	return out, nil
}

// previewFormer adds the fields that are not mapped any more and would be cleared,
// and puts the devices in order.
func (j *job) previewFormer(in *reading, p *Preview) {
	names := map[int]string{}
	for i := range in.devices {
		names[in.devices[i].ID] = devicematch.NameOf(&in.devices[i])
	}
	at := map[int]int{}
	for i := range p.Targets {
		at[p.Targets[i].DeviceID] = i
	}
	for t, fields := range j.former {
		id := t.ID
		if t.Kind == ledger.KindOrganization {
			id = 0
		}
		i, has := at[id]
		if !has {
			i, at[id] = len(p.Targets), len(p.Targets)
			p.Targets = append(p.Targets, PreviewTarget{DeviceID: id, Name: names[id]})
		}
		for _, name := range slices.Sorted(slices.Values(fields)) {
			p.Targets[i].Fields = append(p.Targets[i].Fields, PreviewField{NinjaOne: name, Outcome: OutcomeCleared})
		}
	}
	slices.SortFunc(p.Targets[1:], func(a, b PreviewTarget) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.DeviceID, b.DeviceID))
	})
}

func (j *job) previewDevice(in *reading, id int, name string, f compose.DeviceFields) PreviewTarget {
	out := PreviewTarget{DeviceID: id, Name: name}
	record := in.records[ledger.Device(id)]
	for _, v := range []struct {
		field, value string
		sent         ninjaone.Value
	}{
		{deviceLinks, f.DeviceLinks, ninjaone.HTML(f.DeviceLinks)},
		{deviceSummary, f.DeviceSummary, ninjaone.HTML(f.DeviceSummary)},
		{deviceCompliance, f.DeviceCompliance, textOrClear(f.DeviceCompliance)},
	} {
		if v.value == "" {
			v.sent = ninjaone.Clear()
		}
		name := in.fields[v.field]
		out.Fields = append(out.Fields, PreviewField{Field: v.field, NinjaOne: name, Value: v.value, Outcome: outcomeOf(record, name, v.sent)})
	}
	return out
}

// outcomeOf says what a sync would do with a field.
func outcomeOf(r *ledger.Record, name string, v ninjaone.Value) string {
	if name == "" {
		return OutcomeUnmapped
	}
	have := ""
	if r != nil {
		have = r.Fields[name]
	}
	switch {
	case v.IsClear() && !ledger.Holds(have):
		return OutcomeEmpty
	case v.IsClear():
		return OutcomeCleared
	case have == ledger.Digest(v):
		return OutcomeUnchanged
	case !ledger.Holds(have):
		return OutcomeNew
	}
	return OutcomeChanged
}
