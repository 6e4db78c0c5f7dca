package tenantsync

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// A technician may map a field to another NinjaOne custom field, or to none. The former
// one then keeps what we wrote. The next sync clears it wherever a record notes it,
// unless somebody else has written there since.

// formerFields is what was read of fields that hold what we wrote and are not
// mapped any more.
type formerFields struct {
	judged bool  // a technician unmapped them, and this run looked at them; no light run does
	unread error // why it is not known what NinjaOne shows in them
	theirs map[ledger.Target]map[string]bool
}

// scopes says which NinjaOne fields are mapped, for each kind of target, in
// lower case. A field that CIPP maps for something else than ours counts for both.
func scopes(mapped map[string]string) map[ledger.Kind]map[string]bool {
	names := map[ledger.Kind]map[string]bool{ledger.KindOrganization: {}, ledger.KindDevice: {}}
	for field, name := range mapped {
		of := []ledger.Kind{ledger.KindOrganization, ledger.KindDevice}
		if i := slices.IndexFunc(requirements, func(r requirement) bool { return r.field == field }); i >= 0 {
			of = []ledger.Kind{requirements[i].target()}
		}
		for _, k := range of {
			names[k][strings.ToLower(name)] = true
		}
	}
	return names
}

// formerOf lists a record's fields that hold what we wrote and are not mapped any more.
// It lists none of a device that this tenant does not clear.
func (in *inputs) formerOf(r *ledger.Record) (names []string) {
	if r.Target.Kind == ledger.KindDevice && !in.clears(r) {
		return nil
	}
	mapped := scopes(in.mapped)[r.Target.Kind]
	for name, noted := range r.Fields {
		if ledger.Holds(noted) && !mapped[strings.ToLower(name)] {
			names = append(names, name)
		}
	}
	return names
}

// awaits reports whether a kind of target has an HTML field mapped to one that cannot be
// written. A problem tells of it. Until we can write it, the former field's content is
// better than nothing. An outdated compliance is not, so only HTML counts.
func (in *inputs) awaits(k ledger.Kind) bool {
	return slices.ContainsFunc(requirements, func(r requirement) bool {
		return r.target() == k && slices.Contains(r.types, ninjaone.TypeWYSIWYG) && in.mapped[r.field] != "" && in.fields[r.field] == ""
	})
}

// clearable reports whether a run can and should clear a field that is not mapped any
// more.
func (in *inputs) clearable(t ledger.Target, d ninjaone.CustomField) bool {
	return d.APIPermission == ninjaone.PermissionReadWrite && (d.Type != ninjaone.TypeWYSIWYG || !in.awaits(t.Kind))
}

// remap brings the records in line with the fields that are mapped now.
//
// A mapped field that cannot be written may be deleted, and made again without its
// values. So remap notes it as Unknown, and a run sends it once it can be written. Runs
// clear what we wrote in a field that is not mapped any more.
func (p *Plan) remap(in *inputs) {
	usable, mapped := scopes(in.fields), scopes(in.mapped)
	p.former = map[ledger.Target][]string{}
	for t, r := range in.records {
		change := ledger.Remapped{Record: r, Unnote: r.Noted.Without(in.fields.shared())}
		unknown := func(name string) bool {
			fresh := r.Fields[name] != ledger.Unknown
			r.Fields[name] = ledger.Unknown
			return fresh
		}
		changed := change.Unnote != ledger.Shared{} // the note in the record's fields counts from now on
		former := in.formerOf(r)
		for name, noted := range r.Fields {
			low := strings.ToLower(name)
			switch {
			case usable[t.Kind][low]:
			case mapped[t.Kind][low] && ledger.Holds(noted):
				changed = unknown(name) || changed
			case !mapped[t.Kind][low] && !ledger.Holds(noted):
				change.Dropped = append(change.Dropped, name)
			}
		}
		if in.formerFields.judged {
			for _, name := range former {
				switch p.judgeFormer(in, t, name) {
				case formerGone:
					change.Dropped = append(change.Dropped, name)
				case formerWaits:
					changed = unknown(name) || changed
				case formerOurs:
					p.former[t] = append(p.former[t], name)
				}
			}
		}
		for _, name := range change.Dropped {
			delete(r.Fields, name)
		}
		if changed || len(change.Dropped) > 0 {
			p.remapped = append(p.remapped, change)
		}
	}
	if err := in.formerFields.unread; err != nil {
		in.problems.Add("former", "Fields that are not mapped any more are not cleared yet, since what NinjaOne shows there could not be read: %s", words.End(err.Error()))
	}
}

// What becomes of a field that holds what we wrote and is not mapped any more.
const (
	formerStays = iota // nothing can be done at present
	formerGone         // it is not ours any more
	formerWaits        // what it shows is better than nothing, and not known
	formerOurs         // it is cleared
)

func (p *Plan) judgeFormer(in *inputs, t ledger.Target, name string) int {
	d, exists := in.definitions[strings.ToLower(name)]
	switch {
	case !exists && in.formerFields.unread != nil:
	case !exists:
		in.problems.Notice("former:"+name, "The NinjaOne custom field %q is not mapped any more, and does not exist any more. What was written there is gone with it.", name)
		return formerGone
	case d.APIPermission != ninjaone.PermissionReadWrite:
		in.problems.Add("former:"+name, "The NinjaOne custom field %q is not mapped any more, and shows what was last written there. "+
			"It cannot be cleared because its API permission is %s: set it to Read/Write until the next sync, or delete the field.", name, d.APIPermission)
	case !in.clearable(t, d):
		return formerWaits
	case in.formerFields.unread != nil:
	case in.formerFields.theirs[t][name]:
		in.problems.Notice("theirs:"+name, "The NinjaOne custom field %q is not mapped any more. Where somebody else has written there since, it stays as it is.", name)
		return formerGone
	case t.Kind == ledger.KindOrganization, in.roster.Clearable(t.ID):
		return formerOurs
	}
	return formerStays
}

// clearFormer adds the clearing of former fields to what the targets are to hold.
func (p *Plan) clearFormer(in *inputs, changes map[ledger.Target]*change) {
	names := in.deviceNames()
	for t, former := range p.former {
		slices.Sort(former)
		c := changes[t]
		if c == nil {
			c = &change{target: t, name: names[t.ID], fields: func() []field { return nil }}
			changes[t] = c
		}
		mapped := c.fields
		c.fields = func() []field {
			fields := mapped()
			for _, name := range former {
				fields = append(slices.Clip(fields), field{ninja: name, value: ninjaone.Clear()})
			}
			return fields
		}
	}
}

// wrote reports whether a device's field still has what we wrote. A text must be the very
// same. HTML must not be written since, as NinjaOne may return it in another form. Of a
// text whose sending has no known end, the last one that is kept counts.
func (j *job) wrote(ctx context.Context, r *ledger.Record, f ninjaone.FieldValue) (bool, error) {
	noted := r.Fields[f.Name]
	switch text := lines(f.Text); {
	case f.HTML != "":
		return r.Written.IsZero() || !f.Updated.After(r.Written.Add(skew)), nil
	case text == "":
		return true, nil
	case noted != ledger.Unknown:
		return ledger.Digest(ninjaone.Text(text)) == noted, nil
	case compose.IsCompliance(text):
		return true, nil
	}
	kept, err := j.Ledger.Values(ctx, j.organization, r.Target.ID)
	return kept[f.Name].Text == lines(f.Text), err
}

// lines is a text as we send it: NinjaOne may give its lines back with other ends.
func lines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// lettersOf are the letters and digits of a text in HTML. They stay the same when
// NinjaOne returns it in another form.
func lettersOf(markup string) string {
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
