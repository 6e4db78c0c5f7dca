package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// wants are what ledger.Targets are to hold, by NinjaOne custom field name. The values
// are composed when they are looked at: those of all devices together would
// take more memory than everything else.
type wants map[ledger.Target]func() (ninjaone.Fields, error)

// known wants values that are there already.
func known(f ninjaone.Fields) func() (ninjaone.Fields, error) {
	return func() (ninjaone.Fields, error) { return f, nil }
}

// CIPP's names of the fields, from its table CippMapping.
const (
	tenantLinks      = "TenantLinks"
	tenantSummary    = "TenantSummary"
	usersSummary     = "UsersSummary"
	deviceLinks      = "DeviceLinks"
	deviceSummary    = "DeviceSummary"
	deviceCompliance = "DeviceCompliance"
)

// scopeDevice is NinjaOne's word for the scope of devices.
const scopeDevice = "NODE"

// requirement says what a NinjaOne custom field must be to hold one of ours.
type requirement struct {
	field, scope, kind string
}

var requirements = []requirement{
	{tenantLinks, "ORGANIZATION", ninjaone.TypeWYSIWYG},
	{tenantSummary, "ORGANIZATION", ninjaone.TypeWYSIWYG},
	{usersSummary, "ORGANIZATION", ninjaone.TypeWYSIWYG},
	{deviceLinks, scopeDevice, ninjaone.TypeWYSIWYG},
	{deviceSummary, scopeDevice, ninjaone.TypeWYSIWYG},
	{deviceCompliance, scopeDevice, ninjaone.TypeText},
}

// mappedFields holds the NinjaOne custom field for each of our fields that is
// mapped and usable.
type mappedFields map[string]string

// mappedFields reads the field mapping and checks it against NinjaOne's
// definitions. A field that cannot be used is a problem, not a failure.
func (j *job) mappedFields(ctx context.Context) (mappedFields, error) {
	mapping, err := j.CIPP.FieldMapping(ctx)
	if err != nil {
		return nil, err
	}
	j.mapped = mapping
	if len(mapping) == 0 {
		j.problems.Add("fields", "No field is mapped, so nothing can be shown: map the fields in CIPP under Integrations, NinjaOne, Field Mapping.")
		return mappedFields{}, nil
	}
	definitions, err := j.client.CustomFields(ctx)
	if err != nil {
		return nil, failed("NinjaOne's custom fields could not be read: %w", err)
	}
	usable, faults := usableFields(mapping, definitions)
	for _, f := range faults {
		j.problems.Add(f.Key, "%s", f.Message)
	}
	return usable, nil
}

// FieldProblems says which of the fields that are mapped cannot be written,
// why, and what to do, by NinjaOne's definitions of custom fields.
func FieldProblems(mapping map[string]string, definitions []ninjaone.CustomField) []problems.Problem {
	_, faults := usableFields(mapping, definitions)
	return faults
}

func usableFields(mapping map[string]string, definitions []ninjaone.CustomField) (usable mappedFields, faults []problems.Problem) {
	usable = mappedFields{}
	byName := map[string]ninjaone.CustomField{}
	for _, d := range definitions {
		byName[strings.ToLower(d.Name)] = d
	}
	taken := map[string]string{}
	for _, r := range requirements {
		name := mapping[r.field]
		if name == "" {
			continue
		}
		d, ok := byName[strings.ToLower(name)]
		fault := func(format string, args ...any) {
			faults = append(faults, problems.Problem{Key: "field:" + r.field, Message: r.field + " is not written: " + fmt.Sprintf(format, args...)})
		}
		switch {
		case !ok:
			fault("its NinjaOne custom field %q does not exist. Create it, or map another one in CIPP.", name)
		case d.Type != r.kind:
			fault("the NinjaOne custom field %q has the type %s, and must have the type %s.", name, d.Type, r.kind)
		case !slices.Contains(d.DefinitionScope, r.scope):
			fault("the NinjaOne custom field %q is not defined for the scope %s.", name, r.scope)
		case d.APIPermission != ninjaone.PermissionReadWrite:
			fault("the NinjaOne custom field %q has the API permission %s. Set it to Read/Write.", name, d.APIPermission)
		case taken[r.scope+d.Name] != "":
			fault("the NinjaOne custom field %q is already mapped to %s.", name, taken[r.scope+d.Name])
		default:
			taken[r.scope+d.Name] = r.field
			usable[r.field] = d.Name
		}
	}
	return usable, faults
}

// values puts our fields' values under the names of the NinjaOne fields they
// are mapped to, leaving out those that are not.
func (f mappedFields) values(of ninjaone.Fields) ninjaone.Fields {
	out := ninjaone.Fields{}
	for field, v := range of {
		if name := f[field]; name != "" {
			out[name] = v
		}
	}
	return out
}

// section is one tenant's part of its organization's fields, kept as a blob
// so that tenants that share an organization can be shown together: whole, and
// in the shorter forms that it takes where there is not room for all.
type section struct {
	TenantID string                     `json:"tenantId"`
	Fields   compose.OrganizationFields `json:"fields"`
	Shorter  compose.Forms              `json:"shorter"`
}

// organizationFields are the organization's fields, by CIPP's names.
var organizationFields = []struct {
	name  string
	whole func(compose.OrganizationFields) string
	forms func(compose.Forms) []compose.Form
}{
	{tenantLinks, func(f compose.OrganizationFields) string { return f.TenantLinks }, func(f compose.Forms) []compose.Form { return f.TenantLinks }},
	{tenantSummary, func(f compose.OrganizationFields) string { return f.TenantSummary }, func(f compose.Forms) []compose.Form { return f.TenantSummary }},
	{usersSummary, func(f compose.OrganizationFields) string { return f.UsersSummary }, func(f compose.Forms) []compose.Form { return f.UsersSummary }},
}

// sectionsPrefix begins the names of the sections of the run's organization.
func (j *job) sectionsPrefix() string { return strings.TrimSuffix(j.sectionName(""), ".json") }

func (j *job) sectionName(tenantID string) string {
	return kept{j.organization(), tenantID}.sectionName()
}

// ownSection composes this tenant's section.
func (j *job) ownSection(input compose.Input) (section, error) {
	own := section{TenantID: j.ref.ID}
	var err error
	own.Fields, own.Shorter, err = compose.Sections(input)
	return own, err
}

// organizationValues composes the organization's fields: this tenant's
// section, joined with the kept sections of the tenants that share it. What
// cannot be composed is a problem, and leaves the fields as they are.
func (j *job) organizationValues(ctx context.Context, input compose.Input, fields mappedFields) (wants, error) {
	own, err := j.ownSection(input)
	if err != nil {
		j.problems.Add("organization:compose", "The organization's fields could not be composed, and stay as they are: %s", sentence(err.Error()))
		return wants{}, nil
	}
	if err := j.keep(ctx, j.sectionName(j.ref.ID), own, &j.run.SectionDigest); err != nil {
		return nil, fmt.Errorf("keep the tenant's section: %w", err)
	}
	whole, cuts, err := j.joined(ctx, own, fields)
	if err != nil {
		return nil, err
	}
	j.tellCuts(cuts)
	return wants{j.organization().Target(): known(whole)}, nil
}

// joined returns the organization's fields with this tenant's section among
// those of the tenants that share it, and how this section is cut down for their
// sake, by CIPP's names of the fields.
func (j *job) joined(ctx context.Context, own section, fields mappedFields) (ninjaone.Fields, map[string]compose.Cut, error) {
	var sections []section
	at := 0
	for _, id := range slices.Sorted(slices.Values(j.sharing)) {
		if id == j.ref.ID {
			at = len(sections)
			sections = append(sections, own)
			continue
		}
		body, err := j.Blobs.Get(ctx, j.sectionName(id))
		if errors.Is(err, storage.ErrNotFound) {
			continue // that tenant has not been synced yet
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the section of the tenant %s: %w", id, err)
		}
		var s section
		if json.Unmarshal(body, &s) == nil { // else it is rewritten by that tenant's next run
			sections = append(sections, s)
		}
	}
	values, cuts := ninjaone.Fields{}, map[string]compose.Cut{}
	for _, f := range organizationFields {
		if len(sections) == 1 {
			values[f.name] = ninjaone.HTML(f.whole(own.Fields))
			continue
		}
		var forms [][]compose.Form
		for _, s := range sections {
			whole := compose.Form{HTML: s.Shorter.Heading + f.whole(s.Fields)}
			forms = append(forms, append([]compose.Form{whole}, f.forms(s.Shorter)...))
		}
		value, all := compose.Join(0, forms...)
		values[f.name] = ninjaone.HTML(value)
		if fields[f.name] != "" && all[at] != compose.Whole {
			cuts[f.name] = all[at]
		}
	}
	return fields.values(values), cuts, nil
}

// tellCuts notes how the tenant's section is cut down in the organization's
// fields, when that is not as it was in the last run.
func (j *job) tellCuts(cuts map[string]compose.Cut) {
	var parts []string
	for _, f := range organizationFields {
		if cut := cuts[f.name]; cut != compose.Whole {
			parts = append(parts, f.name+" "+cut.String())
		}
	}
	j.cuts = strings.Join(parts, ", ")
	switch {
	case j.cuts == j.run.Cuts:
	case j.cuts == "":
		j.notes = append(j.notes, fmt.Sprintf("The fields of NinjaOne organization %d show this tenant whole again.", j.mapping.OrganizationID))
	default:
		j.notes = append(j.notes, fmt.Sprintf("%d tenants share the fields of NinjaOne organization %d, which have no room for all of this one. They show it so: %s.",
			len(j.sharing), j.mapping.OrganizationID, j.cuts))
	}
}

// deviceValues adds the matched devices' fields, and the clearing of devices
// that this tenant wrote and that no longer match.
func (j *job) deviceValues(ctx context.Context, input compose.Input, in *reading, desired wants) error {
	devices, err := compose.NewDevices(input)
	if err != nil {
		return failed("the devices' fields could not be composed: %w", err)
	}
	held, err := j.weighClaims(ctx, in, input.Matches.Pairs)
	if err != nil {
		return err
	}
	if err := j.saveMatches(ctx, input.Matches, held); err != nil {
		return err
	}
	for _, p := range input.Matches.Pairs {
		if held[p.Ninja.ID] != "" {
			continue
		}
		desired[ledger.Device(p.Ninja.ID)] = func() (ninjaone.Fields, error) {
			f, err := devices.Fields(p)
			values := ninjaone.Fields{
				deviceLinks:      ninjaone.HTML(f.DeviceLinks),
				deviceSummary:    ninjaone.HTML(f.DeviceSummary),
				deviceCompliance: textOrClear(f.DeviceCompliance),
			}
			if p.Intune.ComplianceState == "" {
				delete(values, deviceCompliance) // Intune said nothing: the field stays
			}
			return in.fields.values(values), err
		}
	}
	return j.clearUnmatched(ctx, in, desired)
}

// clearUnmatched plans the clearing of what was written on devices that are no
// longer matched (design section 6): by this tenant, or by one that is not
// mapped to the organization any more, so that nobody else would.
func (j *job) clearUnmatched(ctx context.Context, in *reading, desired wants) error {
	nameless := in.nameless()
	for t, r := range in.records {
		if t.Kind != ledger.KindDevice || !in.clears(r, j.ref.ID) || desired[t] != nil {
			continue
		}
		forget := !r.HoldsAny()
		if !forget {
			var err error
			if forget, err = j.changedHands(ctx, t); err != nil {
				return err
			}
		}
		switch {
		case forget:
			if err := j.Ledger.Forget(ctx, j.organization(), t); err != nil {
				return err
			}
			delete(in.records, t)
		case j.roster.Clearable(t.ID) && !nameless:
			clear := ninjaone.Fields{}
			for _, name := range in.fields.names(deviceLinks, deviceSummary, deviceCompliance) {
				clear[name] = ninjaone.Clear()
			}
			desired[t] = known(clear)
		}
	}
	return nil
}

// settled is how long a tenant must be known to be unmapped before its section
// goes and its devices are cleared: CIPP saves mappings by removing all of them
// first.
const settled = 10 * time.Minute

// share finds the tenants that the organization shows: those that are mapped to
// it, and those whose section is kept, that are mapped nowhere, and that have
// not been unmapped for a while.
func (j *job) share(ctx context.Context, mappings []cipp.OrganizationMapping) error {
	known := map[string]bool{}
	for _, m := range mappings {
		known[m.TenantID] = m.OrganizationID != 0
		if m.OrganizationID == j.mapping.OrganizationID {
			j.sharing = append(j.sharing, m.TenantID)
		}
	}
	var doubtful []string
	for blob, err := range j.Blobs.List(ctx, j.sectionsPrefix()) {
		if err != nil {
			return fmt.Errorf("look for the sections of NinjaOne organization %d: %w", j.mapping.OrganizationID, err)
		}
		if k, ok := keptOf(blob.Name); ok && !known[k.tenantID] {
			doubtful = append(doubtful, k.tenantID)
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	found, err := j.unmappedRows(ctx)
	if err != nil {
		return err
	}
	for _, id := range doubtful {
		if _, long := j.foundUnmapped(found, id); !long {
			j.sharing = append(j.sharing, id)
		}
	}
	return nil
}

// foundUnmapped reports whether a tenant was found to be unmapped, and whether
// that was a while ago.
func (j *job) foundUnmapped(found map[string]time.Time, id string) (noted, long bool) {
	since, noted := found[j.sectionName(id)]
	if !noted {
		since, noted = found[devicematch.BlobName(id)]
	}
	return noted, noted && j.Now().Sub(since) >= settled
}

// unmapped returns the tenants that wrote devices of the organization and have
// not been mapped to it for a while, as ForgetUnmapped notes it. There are none
// while a mapping does not say whose it is, or for which organization.
func (j *job) unmapped(ctx context.Context, in *reading) (map[string]bool, error) {
	gone := map[string]bool{}
	for t, r := range in.records {
		if t.Kind == ledger.KindDevice && r.TenantID != "" && !slices.Contains(j.sharing, r.TenantID) {
			gone[r.TenantID] = true
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	mappings, err := j.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range mappings {
		if m.TenantID == "" || m.OrganizationID == 0 {
			return nil, nil
		}
		if m.OrganizationID == j.mapping.OrganizationID {
			delete(gone, m.TenantID)
		}
	}
	found, err := j.unmappedRows(ctx)
	if err != nil {
		return nil, err
	}
	for id := range gone {
		noted, long := j.foundUnmapped(found, id)
		if long {
			continue
		}
		// Of a tenant that was unmapped for a day nothing is kept to be noted.
		for _, err := range j.Blobs.List(ctx, j.sectionName(id)) {
			if err != nil {
				return nil, err
			}
			noted = true
		}
		if noted {
			delete(gone, id)
		}
	}
	return gone, nil
}

// names returns the NinjaOne fields of those of ours that are usable.
func (f mappedFields) names(ours ...string) []string {
	var names []string
	for _, o := range ours {
		if f[o] != "" {
			names = append(names, f[o])
		}
	}
	return names
}

// changedHands reports whether a device is no longer ours to clear: it was
// deleted in NinjaOne, or another tenant's sync already writes it in its new
// organization.
func (j *job) changedHands(ctx context.Context, t ledger.Target) (bool, error) {
	if j.roster.Deleted(t.ID) {
		return true, nil
	}
	organization := j.roster.MovedTo(t.ID)
	if organization == 0 {
		return false, nil
	}
	return j.Ledger.Owned(ctx, ledger.Organization{Instance: j.instance, ID: organization}, t.ID)
}

// saveMatches stores which devices matched and why, and both leftovers. CIPP's
// map leaves out the devices that another tenant holds.
func (j *job) saveMatches(ctx context.Context, result match.Result, held map[int]string) error {
	m := devicematch.Of(result)
	if err := j.keepUnsure(ctx, &m); err != nil {
		return err
	}
	for i, p := range m.Pairs {
		m.Pairs[i].HeldElsewhere = held[p.NinjaOneID] != ""
	}
	noted := j.run.MatchesDigest
	if j.run.Owed == runs.OwedAll {
		noted = ""
	}
	digest, err := devicematch.Save(ctx, j.CIPP, j.Blobs, j.ref.ID, m, noted)
	if err == nil {
		j.run.MatchesDigest = digest
	}
	return err
}

// keepUnsure leaves the pairs of devices as they were of which it is not known
// what became: package compliance clears what has no pair.
func (j *job) keepUnsure(ctx context.Context, m *devicematch.Matches) error {
	if len(j.roster.Doubtful) == 0 {
		return nil
	}
	former, err := devicematch.Load(ctx, j.Blobs, j.ref.ID)
	if err != nil {
		return err
	}
	for _, p := range former.Pairs {
		i := slices.IndexFunc(m.IntuneOnly, func(l devicematch.Leftover) bool { return l.ID == p.ManagedDeviceID })
		if i >= 0 && slices.Contains(j.roster.Doubtful, p.NinjaOneID) {
			m.IntuneOnly = slices.Delete(m.IntuneOnly, i, i+1)
			m.Pairs = append(m.Pairs, p)
		}
	}
	return nil
}

// formerMatches are the pairs of the last run whose managed devices are still
// there, for what is composed while NinjaOne's list cannot be believed.
func (j *job) formerMatches(ctx context.Context, in *reading) (match.Result, error) {
	former, err := devicematch.Load(ctx, j.Blobs, j.ref.ID)
	if err != nil {
		return match.Result{}, err
	}
	managed := map[string]*tenant.ManagedDevice{}
	for i := range in.snapshot.ManagedDevices.Value {
		d := &in.snapshot.ManagedDevices.Value[i]
		managed[d.ID] = d
	}
	var result match.Result
	for _, p := range former.Pairs {
		if d := managed[p.ManagedDeviceID]; d != nil {
			ninja := &ninjaone.Device{ID: p.NinjaOneID, OrganizationID: j.mapping.OrganizationID, DisplayName: p.NinjaOneName}
			result.Pairs = append(result.Pairs, match.Pair{Intune: d, Ninja: ninja, Evidence: p.Evidence})
		}
	}
	return result, nil
}

// keep stores a value as a blob of JSON, unless it is noted that the blob holds
// it already. A forced run stores it in any case.
func (j *job) keep(ctx context.Context, name string, v any, noted *string) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	digest := ledger.Sum([]byte(name + ledger.Sum(body)))
	if digest == *noted && j.run.Owed != runs.OwedAll {
		return nil
	}
	if err := j.Blobs.Put(ctx, name, body); err != nil {
		return err
	}
	*noted = digest
	return nil
}

// textOrClear returns the value of a TEXT field; an empty text clears it.
func textOrClear(s string) ninjaone.Value {
	if s == "" {
		return ninjaone.Clear()
	}
	return ninjaone.Text(s)
}
