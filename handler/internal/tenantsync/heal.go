package tenantsync

import (
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// rested is how long ago a target must have been written for the weekly rewrite to take
	// it. What was written today needs no healing.
	rested = 24 * time.Hour
	// skew allows for NinjaOne's clock and ours, and for the time between
	// NinjaOne's note of a write and ours.
	skew = 2 * time.Minute
	// believed is how many cleared values are believed in any case.
	believed = 10
)

// weekly reports whether a target has its day of the week. On that day every value of
// ours is written once more. So whatever happened to it in NinjaOne lasts a week at
// most. A hash spreads the targets over the week.
func weekly(r *ledger.Record, now time.Time) bool {
	if r.Written.IsZero() || now.Sub(r.Written) < rested || !r.HoldsAny() {
		return false
	}
	h := fnv.New32a()
	h.Write([]byte(r.Target.String()))
	return (now.Unix()/(24*60*60)+int64(h.Sum32()))%7 == 0
}

// touched is what NinjaOne says of the fields of the organization's devices.
type touched struct {
	// written is when a field of HTML was written since the last completed run.
	written map[deviceField]time.Time
	// texts are the values of the fields of text, whenever they were written. They are nil
	// when unknown.
	texts map[deviceField]string
	// unasked is a field that a report gave without being asked for; "" for none.
	unasked string
}

// deviceField is a field of one device, by NinjaOne's id and name.
type deviceField struct {
	device int
	field  string
}

// tellStrays tells what the reports gave beyond what they were asked for, and leaves it
// out. Such values are of devices outside the organization.
func (in *inputs) tellStrays() {
	strays := map[int]bool{}
	leave := func(id int) bool {
		if in.roster.Unsure(id) && !in.roster.Unusable {
			strays[id] = true
		}
		return strays[id]
	}
	maps.DeleteFunc(in.touched.written, func(of deviceField, _ time.Time) bool { return leave(of.device) })
	maps.DeleteFunc(in.touched.texts, func(of deviceField, _ string) bool { return leave(of.device) })
	if len(strays) > 0 {
		in.problems.Add("report:devices", "NinjaOne's report of custom fields has %d devices, such as device %d, that are not in organization %d's list. "+
			"That organization alone was asked for, so they are left out. If this lasts, ask NinjaOne's support why the device filter is not applied.", len(strays), slices.Min(slices.Collect(maps.Keys(strays))), in.organization.ID)
	}
	if in.touched.unasked != "" {
		in.problems.Add("report:fields", "NinjaOne's report of custom fields has fields that were not asked for, such as %q. They are left out. "+
			"If this lasts, ask NinjaOne's support why the filter of fields is not applied.", in.touched.unasked)
	}
}

// heldText reports whether NinjaOne shows the text that we wrote into a field, as
// far as we know.
func heldText(r *ledger.Record, name string) bool {
	return ledger.Holds(r.Fields[name]) && r.Fields[name] != ledger.Unknown
}

// writtenSince is the time since which a run asks NinjaOne for written fields. None of
// the devices that hold ours counts from before. So the run after a first sync does not
// hear of all that the first one wrote.
func writtenSince(lastSuccess time.Time, records map[ledger.Target]*ledger.Record, names []string) time.Time {
	var oldest time.Time
	for t, r := range records {
		holds := slices.ContainsFunc(names, func(name string) bool { return ledger.Holds(r.Fields[name]) })
		if t.Kind == ledger.KindDevice && holds && !r.Written.IsZero() && (oldest.IsZero() || r.Written.Before(oldest)) {
			oldest = r.Written
		}
	}
	since := lastSuccess.Add(-skew)
	if from := oldest.Add(skew); from.After(since) {
		return from
	}
	return since
}

// heal marks the fields that somebody else wrote or cleared after we did, so
// that they are sent again. A text is compared as it is; NinjaOne may give HTML
// back in another form, so there the time decides.
func (in *inputs) heal() {
	for of, updated := range in.touched.written {
		r := in.records[ledger.Device(of.device)]
		if r != nil && ledger.Holds(r.Fields[of.field]) && !r.Written.IsZero() && updated.After(r.Written.Add(skew)) {
			r.Fields[of.field] = ledger.Unknown
		}
	}
	if in.touched.texts != nil {
		for _, name := range in.fields.shared().Names() {
			in.healTexts(name)
		}
	}
}

// healTexts marks what differs of a field of text.
func (in *inputs) healTexts(name string) {
	var cleared []*ledger.Record
	held := 0
	for _, d := range in.roster.Devices {
		r := in.records[ledger.Device(d.ID)]
		if r == nil || !heldText(r, name) {
			continue
		}
		text, there := in.touched.texts[deviceField{d.ID, name}]
		switch {
		case !there && in.roster.Lacked[d.ID]: // as little evidence as the list
		case !there || text == "":
			cleared = append(cleared, r)
		case ledger.Digest(ninjaone.Text(lines(text))) != r.Fields[name]:
			r.Fields[name] = ledger.Unknown
		default:
			held++
		}
	}
	// A report that lacks most of what NinjaOne accepted hardly says what we take it to say.
	// And each value sent again costs a call.
	if len(cleared) <= max(held, believed) {
		for _, r := range cleared {
			r.Fields[name] = ledger.Unknown
		}
	}
}
