package tenantsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/html"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/tenant"
)

// A field that a technician maps to another NinjaOne custom field, or to none,
// leaves what we wrote in the former one. That is cleared with the next sync,
// wherever it is noted, unless somebody else has written there since.

// scopes says which NinjaOne fields are mapped, for each kind of target, in
// lower case. A field that CIPP maps for something else than ours counts for both.
func scopes(mapped map[string]string) map[ledger.Kind]map[string]bool {
	names := map[ledger.Kind]map[string]bool{ledger.KindOrganization: {}, ledger.KindDevice: {}}
	for field, name := range mapped {
		of := []ledger.Kind{ledger.KindOrganization, ledger.KindDevice}
		for _, r := range requirements {
			if r.field == field {
				of = []ledger.Kind{kindOf(r.scope)}
			}
		}
		for _, k := range of {
			names[k][strings.ToLower(name)] = true
		}
	}
	return names
}

func kindOf(scope string) ledger.Kind {
	if scope == scopeDevice {
		return ledger.KindDevice
	}
	return ledger.KindOrganization
}

// review brings the records in line with the fields that are mapped now.
//
// What happens to a field that is mapped but cannot be written is not known:
// it may be deleted, and made again without its values. So it is noted as
// unknown, and sent once it can be written. What we wrote in a field that is not
// mapped any more is to be cleared.
func (j *job) review(ctx context.Context, in *reading) error {
	usable, dropped, touched, err := j.foresee(ctx, in)
	if err != nil {
		return err
	}
	var changed []ledger.Remapped
	for t, r := range in.records {
		if touched[t] || dropped[t] != nil {
			changed = append(changed, ledger.Remapped{Record: r, Dropped: dropped[t], Unnote: r.Noted != "" && !usable[t.Kind][strings.ToLower(r.Noted)]})
		}
	}
	return j.Ledger.SaveRemapped(ctx, j.organization(), changed)
}

// foresee is review in memory alone. It returns which fields can be written, by
// kind of target, and the records that changed.
func (j *job) foresee(ctx context.Context, in *reading) (usable map[ledger.Kind]map[string]bool, dropped map[ledger.Target][]string, touched map[ledger.Target]bool, err error) {
	usable, dropped, touched = scopes(in.fields), map[ledger.Target][]string{}, map[ledger.Target]bool{}
	mapped, former := scopes(j.mapped), map[ledger.Target][]string{}
	for t, r := range in.records {
		for name, noted := range r.Fields {
			switch low := strings.ToLower(name); {
			case usable[t.Kind][low]:
			case mapped[t.Kind][low]:
				if ledger.Holds(noted) && noted != ledger.Unknown {
					r.Fields[name], touched[t] = ledger.Unknown, true
				}
			case !ledger.Holds(noted):
				dropped[t] = append(dropped[t], name)
			case t.Kind == ledger.KindOrganization, in.clears(r, j.ref.ID):
				former[t] = append(former[t], name)
			}
		}
		// The note in the record's fields counts from now on.
		touched[t] = touched[t] || r.Noted != "" && !usable[t.Kind][strings.ToLower(r.Noted)]
	}
	err = j.reviewFormer(ctx, in, former, dropped, touched)
	for t, names := range dropped {
		for _, name := range names {
			delete(in.records[t].Fields, name)
		}
	}
	return usable, dropped, touched, err
}

// reviewFormer decides what becomes of fields that hold what we wrote and are
// not mapped any more: j.former is to be cleared, dropped is not ours any more,
// and what the touched hold is not known.
func (j *job) reviewFormer(ctx context.Context, in *reading, former, dropped map[ledger.Target][]string, touched map[ledger.Target]bool) error {
	if len(former) == 0 {
		return nil
	}
	if len(j.mapped) == 0 {
		// CIPP stores that a field is not synchronised. A table without any row is
		// no technician's act.
		if said, err := j.CIPP.FieldsUnmapped(ctx); err != nil || !said {
			return err
		}
	}
	definitions, err := j.client.CustomFields(ctx)
	if err != nil {
		return failed("NinjaOne's custom fields could not be read: %w", err)
	}
	byName := map[string]ninjaone.CustomField{}
	for _, d := range definitions {
		byName[strings.ToLower(d.Name)] = d
	}
	writable := map[ledger.Target][]string{}
	for t, names := range former {
		for _, name := range names {
			d, ok := byName[strings.ToLower(name)]
			switch {
			case !ok:
				dropped[t] = append(dropped[t], name)
				j.problems.Notice("former:"+name, "The NinjaOne custom field %q is not mapped any more, and does not exist any more. What was written there is gone with it.", name)
			case d.APIPermission != ninjaone.PermissionReadWrite:
				j.problems.Add("former:"+name, "The NinjaOne custom field %q is not mapped any more, and shows what was last written there. "+
					"It cannot be cleared because its API permission is %s: set it to Read/Write until the next sync, or delete the field.", name, d.APIPermission)
			case d.Type == ninjaone.TypeWYSIWYG && j.awaits(t.Kind, in.fields):
				touched[t] = touched[t] || in.records[t].Fields[name] != ledger.Unknown
				in.records[t].Fields[name] = ledger.Unknown
			default:
				writable[t] = append(writable[t], name)
			}
		}
	}
	theirs, err := j.overwritten(ctx, in, writable)
	if err != nil {
		if !ninjaone.Tolerable(ctx, err) {
			return failed("fields that are not mapped any more could not be read: %w", err)
		}
		j.problems.Add("former", "What NinjaOne shows in fields that are not mapped any more could not be read, so they are not cleared yet: %s", sentence(err.Error()))
		return nil
	}
	j.former = map[ledger.Target][]string{}
	for t, names := range writable {
		for _, name := range names {
			switch {
			case theirs[t][name]:
				dropped[t] = append(dropped[t], name)
				j.problems.Notice("theirs:"+name, "The NinjaOne custom field %q is not mapped any more. Where somebody else has written there since, it stays as it is.", name)
			case t.Kind == ledger.KindOrganization, j.roster.Clearable(t.ID):
				j.former[t] = append(j.former[t], name)
			}
		}
	}
	return nil
}

// awaits reports whether a field of HTML is mapped, for a kind of target, to one
// that cannot be written, which is told: until it can, what the former one shows
// is better than nothing. A compliance that is not kept right is not.
func (j *job) awaits(k ledger.Kind, usable mappedFields) bool {
	return slices.ContainsFunc(requirements, func(r requirement) bool {
		return kindOf(r.scope) == k && r.kind == ninjaone.TypeWYSIWYG && j.mapped[r.field] != "" && usable[r.field] == ""
	})
}

// overwritten looks which fields somebody else has written since we did. It
// reads one report of devices, and the organization's fields.
func (j *job) overwritten(ctx context.Context, in *reading, fields map[ledger.Target][]string) (map[ledger.Target]map[string]bool, error) {
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
		for v, err := range j.client.DeviceFieldValues(ctx, j.mapping.OrganizationID, names, time.Time{}) {
			if err != nil {
				return nil, err
			}
			t := ledger.Device(v.DeviceID)
			for _, f := range v.Fields {
				if slices.Contains(fields[t], f.Name) {
					theirs[t][f.Name] = !wrote(in.records[t], f)
				}
			}
		}
	}
	t := j.organization().Target()
	if len(fields[t]) == 0 {
		return theirs, nil
	}
	values, err := j.client.OrganizationFields(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	ours, err := j.Ledger.Values(ctx, j.organization(), 0)
	if err != nil {
		return nil, err
	}
	for _, f := range values {
		if slices.Contains(fields[t], f.Name) && f.HTML+f.Text != "" {
			r := in.records[t].Fields[f.Name]
			theirs[t][f.Name] = ledger.Digest(ninjaone.HTML(f.HTML)) != r && words(f.HTML) != words(ours[f.Name].Text)
		}
	}
	return theirs, nil
}

// wrote reports whether a device's field still has what we wrote: the very text,
// or HTML that nobody has written since, as NinjaOne may give it back in another
// form.
func wrote(r *ledger.Record, f ninjaone.FieldValue) bool {
	noted := r.Fields[f.Name]
	switch {
	case f.HTML != "":
		return r.Written.IsZero() || !f.Updated.After(r.Written.Add(skew))
	case f.Text == "":
		return true
	case noted == ledger.Unknown:
		return f.Text == compose.ComplianceText(tenant.StateCompliant) || f.Text == compose.ComplianceText(tenant.StateNoncompliant)
	}
	return ledger.Digest(ninjaone.Text(f.Text)) == noted
}

// words are the letters and digits of a text in HTML, which stay the same when
// NinjaOne gives it back in another form.
func words(markup string) string {
	var out strings.Builder
	for z := html.NewTokenizer(strings.NewReader(markup)); z.Next() != html.ErrorToken; {
		if t := z.Token(); t.Type == html.TextToken {
			for _, c := range t.Data {
				if unicode.IsLetter(c) || unicode.IsDigit(c) {
					out.WriteRune(c)
				}
			}
		}
	}
	return out.String()
}

// clearFormer adds the clearing of former fields to what the targets are to hold.
func (j *job) clearFormer(desired wants) {
	for t, names := range j.former {
		want := desired[t]
		desired[t] = func() (ninjaone.Fields, error) {
			all := ninjaone.Fields{}
			if want != nil {
				fields, err := want()
				if err != nil {
					return nil, err
				}
				maps.Copy(all, fields)
			}
			for _, name := range names {
				all[name] = ninjaone.Clear()
			}
			return all, nil
		}
	}
}

// giveUp takes the notes of former fields away that NinjaOne refuses to clear for
// good, so that they are not tried for ever.
func (j *job) giveUp(p sending, refused map[string]error) {
	for name, err := range refused {
		answer, ok := errors.AsType[*ninjaone.APIError](err)
		if ok && answer.Status < http.StatusInternalServerError && slices.Contains(j.former[p.record.Target], name) {
			delete(p.record.Fields, name)
		}
	}
}

// tellCleared writes a line for each former field that was cleared, whatever
// becomes of the rest of the run.
func (j *job) tellCleared(ctx context.Context) error {
	if len(j.cleared) == 0 {
		return nil
	}
	ctx, done := storage.Noting(ctx)
	defer done()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(j.cleared)) {
		errs = append(errs, j.CIPP.Log(ctx, cipp.LogEntry{Tenant: j.ref.DefaultDomain, TenantID: j.ref.ID, API: apiName, Severity: cipp.SeverityInfo,
			Message: fmt.Sprintf("The NinjaOne custom field %q is not mapped any more. What was written there was cleared on %d devices or organizations.", name, j.cleared[name])}))
	}
	return errors.Join(errs...)
}
