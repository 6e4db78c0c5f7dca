package automap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// resumable is how long after its last sign of life an interrupted automap goes on
	// rather than begins anew.
	resumable = time.Hour
	// recent is how old an index of NinjaOne's devices may be to serve the
	// automap of a single tenant.
	recent = 10 * time.Minute
	// The automap saves its progress after every saveEvery tenants.
	saveEvery = 20
	// serialForm is the form of the serial numbers in a kept index: letters and digits only.
	// Form 1 had punctuation too.
	serialForm = 2
)

// Report is how the last automap ended, for the console.
type Report struct {
	Started     time.Time    `json:"started"`
	Finished    time.Time    `json:"finished"`
	Mapped      []Mapped     `json:"mapped"`
	Suggestions []Suggestion `json:"suggestions"`
	Unmatched   []Unmatched  `json:"unmatched"`
}

// TenantName names a tenant in a report.
type TenantName struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain string `json:"domain"`
}

func nameOf(t tenant.Ref) TenantName {
	return TenantName{ID: t.ID, Name: t.DisplayName, Domain: t.DefaultDomain}
}

// Mapped is a tenant that automap has mapped.
type Mapped struct {
	Tenant           TenantName             `json:"tenant"`
	OrganizationID   int                    `json:"organizationId"`
	OrganizationName string                 `json:"organizationName"`
	By               match.OrganizationRule `json:"by"`
	Why              string                 `json:"why"`
}

// Suggestion is a tenant that a technician has to decide on.
type Suggestion struct {
	Tenant     TenantName  `json:"tenant"`
	Candidates []Candidate `json:"candidates"` // best first
	Reason     string      `json:"reason"`     // why none of them was taken
}

// Candidate is an organization that something speaks for.
type Candidate struct {
	OrganizationID   int                        `json:"organizationId"`
	OrganizationName string                     `json:"organizationName"`
	Mapped           bool                       `json:"mapped"` // another tenant has it already
	Evidence         match.OrganizationEvidence `json:"evidence"`
}

// Unmatched is a tenant that no organization speaks for.
type Unmatched struct {
	Tenant TenantName `json:"tenant"`
	Reason string     `json:"reason"`
}

// Progress is how far an automap of all tenants has come.
type Progress struct {
	Started time.Time          `json:"started"`
	Updated time.Time          `json:"updated"`
	Tenants int                `json:"tenants"` // whose devices are to be read
	Read    map[string]Reading `json:"read"`    // by tenant id
	Mapped  []Mapped           `json:"mapped"`
	Index   time.Time          `json:"index"` // which index of NinjaOne's devices Read refers to
}

// Reading is what was read of a tenant.
type Reading struct {
	Devices int      `json:"devices"` // Intune devices
	Real    int      `json:"real"`    // of those, the ones with a serial number that can identify a device
	Serials []string `json:"serials"` // of those, the ones that NinjaOne knows, normalized
}

// ReadReport returns the report of the last automap; the zero value when there was none.
func ReadReport(ctx context.Context, blobs *storage.Container) (Report, error) {
	r, err := storage.FindJSON[Report](ctx, blobs, reportBlob)
	if r == nil {
		return Report{}, err
	}
	return *r, nil
}

// ReadProgress returns how far the automap of all tenants has come that is
// under way; false when none is.
func ReadProgress(ctx context.Context, blobs *storage.Container) (Progress, bool, error) {
	p, err := storage.FindJSON[Progress](ctx, blobs, progressBlob)
	if p == nil {
		return Progress{}, false, err
	}
	return *p, true, nil
}

// storedIndex is the index of NinjaOne's devices at rest.
type storedIndex struct {
	Read     time.Time         `json:"read"`
	Instance string            `json:"instance"` // NinjaOne host
	Serials  match.SerialIndex `json:"serials"`
	Form     int               `json:"form"` // of the serial numbers in it: serialForm
}

// resume loads the progress of an earlier invocation, or begins anew.
func (j *job) resume(ctx context.Context) error {
	now := j.Now().UTC()
	j.progress = Progress{Started: now, Read: map[string]Reading{}}
	if j.message.TenantID != "" {
		return nil
	}
	kept, err := storage.FindJSON[Progress](ctx, j.Blobs, progressBlob)
	if err != nil || kept == nil || kept.Read == nil || now.Sub(kept.Updated) > resumable {
		return err
	}
	j.progress = *kept
	j.log.InfoContext(ctx, "an interrupted automap goes on", "read", len(j.progress.Read), "tenants", j.progress.Tenants)
	return nil
}

// save keeps the progress of an automap of all tenants. The automap of a
// single tenant is simply done again.
func (j *job) save(ctx context.Context) error {
	if j.message.TenantID != "" {
		return nil
	}
	j.progress.Updated = j.Now().UTC()
	j.unsaved = 0
	return j.Blobs.PutJSON(ctx, progressBlob, j.progress)
}

// forget removes the progress of an automap that has ended.
func (j *job) forget(ctx context.Context) error {
	if j.message.TenantID != "" {
		return nil
	}
	return j.Blobs.Delete(ctx, progressBlob)
}

// storedIndex returns the index that may be used in place of reading NinjaOne's devices;
// nil when there is none. It drops readings that refer to another one.
func (j *job) storedIndex(ctx context.Context) (*storedIndex, error) {
	stored, err := storage.FindJSON[storedIndex](ctx, j.Blobs, indexBlob)
	if err != nil {
		return nil, err
	}
	if stored != nil && stored.Instance == j.client.Instance() && stored.Form == serialForm {
		usable := stored.Read.Equal(j.progress.Index)
		if j.message.TenantID != "" {
			usable = j.Now().Sub(stored.Read) < recent
		}
		if usable {
			return stored, nil
		}
	}
	clear(j.progress.Read)
	return nil, nil
}

// keepIndex stores the index that was just read.
func (j *job) keepIndex(ctx context.Context) error {
	j.progress.Index = j.Now().UTC()
	return j.Blobs.PutJSON(ctx, indexBlob, &storedIndex{Read: j.progress.Index, Instance: j.client.Instance(), Serials: j.index, Form: serialForm})
}

// finish writes the report and the last logbook lines.
func (j *job) finish(ctx context.Context, rest match.OrganizationResult) error {
	report := Report{
		Started: j.progress.Started, Finished: j.Now().UTC(),
		Mapped: j.progress.Mapped, Suggestions: []Suggestion{}, Unmatched: []Unmatched{},
	}
	var errs []error
	tellUnread := func(t tenant.Ref) {
		if why := j.unread[t.ID]; why != "" {
			errs = append(errs, j.line(ctx, cipp.LogEntry{Tenant: t.DefaultDomain, TenantID: t.ID, Severity: cipp.SeverityWarn,
				Message: fmt.Sprintf("The tenant's Intune devices could not be read, so that only its name was compared: %s.", why)}))
		}
	}
	for _, s := range rest.Suggestions {
		tellUnread(s.Tenant)
		candidates := make([]Candidate, len(s.Candidates))
		for i, c := range s.Candidates {
			candidates[i] = Candidate{c.Organization.ID, c.Organization.Name, c.Mapped, c.Evidence}
		}
		report.Suggestions = append(report.Suggestions, Suggestion{nameOf(s.Tenant), candidates, s.Reason})
	}
	for _, u := range rest.Unmatched {
		tellUnread(u.Tenant)
		report.Unmatched = append(report.Unmatched, Unmatched{nameOf(u.Tenant), u.Reason})
	}
	errs = append(errs, j.keepReport(ctx, report), j.line(ctx, cipp.LogEntry{Message: j.totals(report)}))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	j.log.InfoContext(ctx, "automap ended", "mapped", len(report.Mapped), "suggestions", len(report.Suggestions),
		"unmatched", len(report.Unmatched), "unread", len(j.unread))
	return j.forget(ctx)
}

// totals words the last logbook line.
func (j *job) totals(r Report) string {
	by := map[match.OrganizationRule]int{}
	for _, m := range r.Mapped {
		by[m.By]++
	}
	return fmt.Sprintf("Automap ended. Mapped: %d (by exact name %d, by similar name %d, by devices %d). "+
		"Left for a technician to decide: %d. Without any match: %d. Intune devices not readable: %d.",
		len(r.Mapped), by[match.RuleExactName], by[match.RuleSimilarName], by[match.RuleDevices],
		len(r.Suggestions), len(r.Unmatched), len(j.unread))
}

// keepReport stores the report. That of a single tenant takes the tenant's
// place in the report there is.
func (j *job) keepReport(ctx context.Context, r Report) error {
	id := j.message.TenantID
	if id == "" {
		return j.Blobs.PutJSON(ctx, reportBlob, r)
	}
	last, err := ReadReport(ctx, j.Blobs)
	if err != nil {
		return err
	}
	last.Started, last.Finished = r.Started, r.Finished
	last.Mapped = replace(last.Mapped, r.Mapped, id, func(m Mapped) TenantName { return m.Tenant })
	last.Suggestions = replace(last.Suggestions, r.Suggestions, id, func(s Suggestion) TenantName { return s.Tenant })
	last.Unmatched = replace(last.Unmatched, r.Unmatched, id, func(u Unmatched) TenantName { return u.Tenant })
	return j.Blobs.PutJSON(ctx, reportBlob, last)
}

// replace puts the new entries of a tenant in the place of its old ones.
func replace[T any](old, new []T, tenantID string, of func(T) TenantName) []T {
	kept := slices.DeleteFunc(slices.Clone(old), func(e T) bool { return of(e).ID == tenantID })
	kept = append(kept, new...)
	slices.SortStableFunc(kept, func(a, b T) int {
		return cmp.Or(cmp.Compare(of(a).Domain, of(b).Domain), cmp.Compare(of(a).ID, of(b).ID))
	})
	return kept
}
