package tenantsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// microsoft365 begins texts of what could not be read: a name, where errors begin small.
const microsoft365 = "Microsoft 365"

// inputs is everything that a plan is made from.
type inputs struct {
	assignment
	lastCuts string // how the last run cut the tenant's section down
	problems *problems.Collector

	policies  tenant.PolicyReadings // of the tenant's devices, read before
	snapshot  *tenant.Snapshot
	portal    string // CIPP's host
	excluded  map[string]bool
	skuNames  map[string]string
	standards tenant.Part[[]tenant.Standard]
	exposure  *exposure.Tenant // of the last file of vulnerabilities; nil where they are not synchronized

	definitions  map[string]ninjaone.CustomField // NinjaOne's fields by name in lower case
	fields       mappedFields
	formerFields formerFields
	touched      touched
	roster       *devicematch.Roster // what is known of the organization's devices

	records   map[ledger.Target]*ledger.Record
	kept      []string                       // tenants whose section of the organization is kept
	left      map[string]bool                // tenants that wrote devices here and are mapped elsewhere or nowhere
	former    devicematch.Matches            // of this tenant's last run
	others    map[string]devicematch.Matches // of the tenants that wrote other devices of the organization
	domains   map[string]string              // default domains of tenants
	sections  map[string]section             // of the tenants that share the organization
	elsewhere map[int]bool                   // devices that another tenant's sync writes in their new organization
	deviceMap cipp.MapRows                   // CIPP's, where it was read
	abandoned map[int]bool                   // devices of it that Intune has no more
}

// domain names a tenant for technicians: by its default domain, or else its id.
func (in *inputs) domain(tenantID string) string { return cmp.Or(in.domains[tenantID], tenantID) }

// listing is what NinjaOne listed of the organization's devices.
type listing struct {
	devices  []ninjaone.Device
	foreign  int   // devices of other organizations
	unlisted error // why the list came to no end
}

// read gathers all inputs; what does not depend on each other runs at once. The
// services have half of the run's time to be read in: the other half is for
// writing. What follows from the answers is read after that.
func (j *job) read(run context.Context) (*inputs, error) {
	ctx, cancel := half(run)
	defer cancel()
	in := &inputs{assignment: j.assignment, lastCuts: j.run.Cuts, problems: &j.problems}
	listed, err := j.readServices(ctx, in)
	switch {
	case run.Err() != nil:
		return nil, cmp.Or(err, run.Err())
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("reading took longer than half of the sync's time, which SYNC_TIME_BUDGET sets: %w", err)
	case err != nil:
		return nil, err
	}
	follow := []func(context.Context, *inputs) error{
		j.readSharing, j.nameLicences,
		func(ctx context.Context, in *inputs) error { return j.judge(ctx, in, listed) },
		j.readNeighbours, j.readElsewhere, j.readAbandoned,
	}
	if j.message.Light {
		j.unread = unread(in.snapshot, j.run.Problems)
	} else {
		follow = append(slices.Insert(follow, 1, j.readUnmapped), j.readFormerFields)
	}
	for _, follow := range follow {
		if err := follow(run, in); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// half returns a context that ends after half of the time that ctx has left.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

func (j *job) readServices(ctx context.Context, in *inputs) (listed listing, err error) {
	if j.client, err = j.NinjaOne(j.config); err != nil {
		return listed, fmt.Errorf("NinjaOne cannot be called: %w", err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if in.policies, err = j.Policies.Load(gctx, j.ref.ID); err != nil {
			return err
		}
		known := &tenant.Known{Policies: in.policies, Daily: j.daily}
		if j.run.Owed == runs.OwedAll { // a forced run believes nothing
			known = nil
		}
		if in.snapshot, err = j.Reader.Read(gctx, j.ref, known); err != nil {
			return fmt.Errorf("%s could not be read: %w", microsoft365, err)
		}
		return nil
	})
	group.Go(func() (err error) {
		listed, err = j.readDevices(ctx, gctx)
		return err
	})
	group.Go(func() error {
		both, bctx := errgroup.WithContext(gctx)
		both.Go(func() (err error) {
			in.records, err = j.Ledger.Load(bctx, j.organization)
			return err
		})
		both.Go(func() error { return j.readFields(bctx, in) })
		if err := both.Wait(); err != nil {
			return err
		}
		if !j.message.Light {
			in.touched = j.readTouched(gctx, in.fields, in.records)
		}
		return nil
	})
	group.Go(func() (err error) {
		in.former, err = devicematch.Load(gctx, j.Blobs, j.ref.ID)
		return err
	})
	group.Go(func() error {
		common, err := j.CIPP.Common(gctx, j.since)
		if err != nil {
			return err
		}
		in.portal, in.excluded, in.standards = common.PortalHost, common.ExcludedSKUs, j.CIPP.Standards(gctx, common, j.ref)
		return nil
	})
	group.Go(func() (err error) {
		if j.config.CVESync {
			in.exposure, err = j.Exposures.Exposure(gctx, j.ref.ID)
		}
		return err
	})
	group.Go(func() error {
		in.skuNames = j.SKUNames(gctx)
		return nil
	})
	return listed, group.Wait()
}

// readDevices lists the organization's devices. Devices prove that the
// organization exists; without them it is asked for.
func (j *job) readDevices(reading, ctx context.Context) (l listing, err error) {
	if j.stored != nil {
		return listing{devices: j.stored.listed()}, nil
	}
	l.devices, l.foreign, err = j.client.Devices(ctx, j.organization.ID)
	refusal, refused := errors.AsType[*ninjaone.APIError](err)
	if refused && (refusal.Status == http.StatusBadRequest || refusal.Status == http.StatusNotFound) || err == nil && len(l.devices) == 0 {
		_, missing := j.client.Organization(ctx, j.organization.ID)
		if errors.Is(missing, ninjaone.ErrNotFound) {
			return l, fmt.Errorf("NinjaOne organization %d (%s) does not exist any more: map the tenant to another one in CIPP, or remove the mapping", j.organization.ID, j.mapping.OrganizationName)
		}
		if err == nil {
			err = missing
		}
	}
	if errors.Is(err, bounds.ErrEndless) || err != nil && errors.Is(reading.Err(), context.DeadlineExceeded) {
		l.unlisted, err = err, nil
	}
	if err != nil {
		return l, fmt.Errorf("the devices of the NinjaOne organization could not be read: %w", err)
	}
	return l, nil
}

// readFields checks the field mapping against NinjaOne's definitions. A field that
// cannot be used is a problem, not a failure.
func (j *job) readFields(ctx context.Context, in *inputs) (err error) {
	if len(in.mapped) == 0 {
		in.problems.Add("fields", "No field is mapped, so nothing can be shown: map the fields in CIPP under Integrations, NinjaOne, Field Mapping.")
		return nil
	}
	var definitions []ninjaone.CustomField
	if j.stored != nil && j.stored.covers(in.mapped) {
		definitions = j.stored.Fields
	} else if definitions, err = j.client.CustomFields(ctx); err != nil {
		return fmt.Errorf("NinjaOne's custom fields could not be read: %w", err)
	}
	var faults []problems.Problem
	in.definitions = definitionsByName(definitions)
	in.fields, faults = usableFields(in.mapped, definitions)
	for _, f := range faults {
		in.problems.Add(f.Key, "%s", f.Message)
	}
	return nil
}

// readTouched asks NinjaOne what it holds of ours. Of HTML fields it reads what somebody
// wrote after the last completed run and after us. That is one call where nobody did.
// Conditions and filters rely on the texts, so it reads every value of these. That is one
// call where all that we wrote is there. In the first run the texts are CIPP's. A report
// has nothing for a cleared field, so that only a whole report shows it. A failed answer
// is no problem, since the weekly rewrite heals as well.
func (j *job) readTouched(ctx context.Context, fields mappedFields, records map[ledger.Target]*ledger.Record) touched {
	var found touched
	if names := fields.names(deviceLinks, deviceSummary); len(names) > 0 && !j.run.LastSuccess.IsZero() {
		found.written = map[deviceField]time.Time{}
		complete := j.report(ctx, names, writtenSince(j.run.LastSuccess, records, names), &found.unasked, nil, func(of deviceField, v ninjaone.FieldValue) {
			found.written[of] = v.Updated
		})
		if !complete {
			found.written = nil
		}
	}
	if names := fields.shared().Names(); len(names) > 0 {
		found.texts = map[deviceField]string{}
		missing := map[deviceField]bool{} // what we wrote, and the report must tell of
		for t, r := range records {
			for _, name := range names {
				if t.Kind == ledger.KindDevice && heldText(r, name) {
					missing[deviceField{t.ID, name}] = true
				}
			}
		}
		held := len(missing)
		enough := func() bool { return held > 0 && len(missing) == 0 }
		complete := j.report(ctx, names, time.Time{}, &found.unasked, enough, func(of deviceField, v ninjaone.FieldValue) {
			found.texts[of] = v.Text
			delete(missing, of)
		})
		if !complete {
			found.texts = nil
		}
	}
	return found
}

// report gives every value of a report to each. It leaves out a field that it was not
// asked for, and names it in unasked. It returns false when a read failed before the
// report's end, or before enough was true.
func (j *job) report(ctx context.Context, names []string, since time.Time, unasked *string, enough func() bool, each func(deviceField, ninjaone.FieldValue)) bool {
	for v, err := range j.client.DeviceFieldValues(ctx, j.mapping.OrganizationID, names, since, enough) {
		if err != nil {
			j.log.InfoContext(ctx, "what NinjaOne holds of our fields could not be read", "error", err)
			return false
		}
		for _, f := range v.Fields {
			if slices.Contains(names, f.Name) {
				each(deviceField{v.DeviceID, f.Name}, f)
			} else {
				*unasked = f.Name
			}
		}
	}
	return true
}

// readUnmapped finds the tenants that wrote devices of the organization and are long
// unmapped from it. ForgetUnmapped notes since when. There are none while a mapping does
// not say whose it is, or for which organization.
func (j *job) readUnmapped(ctx context.Context, in *inputs) error {
	gone := map[string]bool{}
	for t, r := range in.records {
		if t.Kind == ledger.KindDevice && r.TenantID != "" && !slices.Contains(j.sharing, r.TenantID) {
			gone[r.TenantID] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	mappings, err := j.CIPP.OrganizationMappings(ctx)
	if err != nil || !cipp.AllNamed(mappings) {
		return err
	}
	for _, m := range mappings {
		if m.OrganizationID == j.organization.ID {
			delete(gone, m.TenantID)
		}
	}
	found, err := j.unmappedRows(ctx)
	if err != nil {
		return err
	}
	for id := range gone {
		noted, long := j.foundUnmapped(found, kept{j.organization, id})
		if long {
			continue
		}
		// Of a tenant that was unmapped for a day no section is kept, nor a note. A version
		// before notes kept sections that the organization's record does not name.
		for _, err := range j.Blobs.List(ctx, j.sectionName(id)) {
			if err != nil {
				return err
			}
			noted = true
		}
		if noted {
			delete(gone, id)
		}
	}
	in.left = gone
	return nil
}

// judge compares NinjaOne's list with the devices that were in the organization before.
// These hold what we wrote, or matched in the last run. Where we do not know which
// devices Intune has, it concludes nothing and asks nothing.
func (j *job) judge(ctx context.Context, in *inputs, l listing) (err error) {
	if j.stored != nil {
		in.roster = devicematch.Remembered(j.organization.ID, l.devices)
		return nil
	}
	var known []int
	if in.snapshot.DevicesKnown() {
		for t, r := range in.records {
			if t.Kind == ledger.KindDevice && in.clears(r) && r.HoldsAny() {
				known = append(known, t.ID)
			}
		}
		if j.withDocuments() {
			for _, p := range in.former.Pairs {
				known = append(known, p.NinjaOneID)
			}
		}
	}
	if l.unlisted != nil {
		in.roster = devicematch.Unlisted(j.organization.ID, l.unlisted)
	} else if in.roster, err = devicematch.JudgeDevices(ctx, j.client, j.organization.ID, l.devices, l.foreign, known); err != nil {
		return fmt.Errorf("%w", err)
	}
	for _, p := range in.roster.Odd {
		in.problems.Add(p.Key, "%s", p.Message)
	}
	return nil
}

// readNeighbours reads what is kept of the tenants that share the organization. That is
// their sections, and the last matches of those that wrote devices in it.
func (j *job) readNeighbours(ctx context.Context, in *inputs) (err error) {
	in.sections, in.others, in.domains = map[string]section{}, map[string]devicematch.Matches{}, map[string]string{}
	for _, id := range j.sharing {
		if id == j.ref.ID {
			continue
		}
		if t, err := j.CIPP.Tenant(ctx, id); err == nil {
			in.domains[id] = t.DefaultDomain
		}
		s, err := j.section(ctx, id)
		if err != nil {
			return err
		}
		if s != nil { // else that tenant's next run writes it
			in.sections[id] = *s
		}
	}
	for t, r := range in.records {
		if _, read := in.others[r.TenantID]; read || t.Kind != ledger.KindDevice || r.TenantID == "" || in.clears(r) {
			continue
		}
		if in.others[r.TenantID], err = devicematch.Load(ctx, j.Blobs, r.TenantID); err != nil {
			return err
		}
	}
	return nil
}

// section reads what the last sync of a tenant composed for the organization; nil where
// nothing is kept.
func (j *job) section(ctx context.Context, tenantID string) (*section, error) {
	s, err := storage.FindJSON[section](ctx, j.Blobs, j.sectionName(tenantID))
	if err != nil {
		return nil, fmt.Errorf("read the section of the tenant %s: %w", tenantID, err)
	}
	return s, nil
}

// readElsewhere looks which devices that this tenant wrote another tenant's sync
// writes already, in the organization that they moved to.
func (j *job) readElsewhere(ctx context.Context, in *inputs) (err error) {
	in.elsewhere = map[int]bool{}
	for t, r := range in.records {
		if t.Kind != ledger.KindDevice || !in.clears(r) || !r.HoldsAny() {
			continue
		}
		if in.elsewhere[t.ID], err = j.writtenElsewhere(ctx, in.roster, t.ID); err != nil {
			return err
		}
	}
	return nil
}

// writtenElsewhere reports whether another tenant's sync writes a device in the
// organization that it moved to.
func (j *job) writtenElsewhere(ctx context.Context, roster *devicematch.Roster, id int) (bool, error) {
	organization := roster.MovedTo(id)
	if organization == 0 {
		return false, nil
	}
	return j.Ledger.Owned(ctx, ledger.Organization{Instance: j.organization.Instance, ID: organization}, id)
}

// readFormerFields asks what NinjaOne shows in the fields that hold what we wrote and are
// not mapped any more. A table without any row is not a technician's act, since CIPP
// stores that a field is not synchronised.
func (j *job) readFormerFields(ctx context.Context, in *inputs) error {
	former := map[ledger.Target][]string{}
	for t, r := range in.records {
		if names := in.formerOf(r); len(names) > 0 {
			former[t] = names
		}
	}
	if len(former) == 0 || !in.mappedSaid {
		return nil
	}
	in.formerFields.judged = true
	// Anew: a field may have been deleted since the mapping was checked.
	definitions, err := j.client.CustomFields(ctx)
	if err != nil {
		return fmt.Errorf("NinjaOne's custom fields could not be read: %w", err)
	}
	if len(definitions) == 0 { // which proves of no field that somebody deleted it
		in.formerFields.unread = errors.New("NinjaOne lists no custom field")
		return nil
	}
	in.definitions = definitionsByName(definitions)
	for t, names := range former {
		former[t] = slices.DeleteFunc(names, func(name string) bool {
			d, exists := in.definitions[strings.ToLower(name)]
			return !exists || !in.clearable(t, d)
		})
	}
	in.formerFields.theirs, err = j.overwritten(ctx, in, former)
	if err != nil && !ninjaone.Tolerable(ctx, err) {
		return fmt.Errorf("fields that are not mapped any more could not be read: %w", err)
	}
	in.formerFields.unread = err
	return nil
}

// overwritten looks which fields somebody else has written since we did. It
// reads one report of devices, and the organization's fields.
func (j *job) overwritten(ctx context.Context, in *inputs, fields map[ledger.Target][]string) (map[ledger.Target]map[string]bool, error) {
	theirs := map[ledger.Target]map[string]bool{}
	var names []string
	for t, list := range fields {
		theirs[t] = map[string]bool{}
		if t.Kind == ledger.KindDevice {
			names = append(names, list...)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 {
		for v, err := range j.client.DeviceFieldValues(ctx, j.organization.ID, names, time.Time{}, nil) {
			if err != nil {
				return nil, err
			}
			t := ledger.Device(v.DeviceID)
			for _, f := range v.Fields {
				if slices.Contains(fields[t], f.Name) {
					ours, err := j.wrote(ctx, in.records[t], f)
					if err != nil {
						return nil, err
					}
					theirs[t][f.Name] = !ours
				}
			}
		}
	}
	t := j.organization.Target()
	if len(fields[t]) == 0 {
		return theirs, nil
	}
	values, err := j.client.OrganizationFields(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	ours, err := j.Ledger.Values(ctx, j.organization, 0)
	if err != nil {
		return nil, err
	}
	for _, f := range values {
		if slices.Contains(fields[t], f.Name) && f.HTML+f.Text != "" {
			r := in.records[t].Fields[f.Name]
			theirs[t][f.Name] = ledger.Digest(ninjaone.HTML(f.HTML)) != r && lettersOf(f.HTML) != lettersOf(ours[f.Name].Text)
		}
	}
	return theirs, nil
}
