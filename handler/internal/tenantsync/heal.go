package tenantsync

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// rested is how long ago a target must have been written for the weekly
	// rewrite to take it: what was written today needs no healing.
	rested = 24 * time.Hour
	// skew allows for NinjaOne's clock and ours, and for the time between
	// NinjaOne's note of a write and ours.
	skew = 2 * time.Minute
	// believed is how many cleared values are believed in any case.
	believed = 10
)

// weekly reports whether a target has its day of the week: on that day every
// value of ours is written once more, so that whatever happened to it in
// NinjaOne lasts a week at most. A hash spreads the targets over the week.
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
	// written is when a field of HTML was written since the last completed run,
	// by device id and field.
	written map[int]map[string]time.Time
	// texts are the values of the compliance field by device id, whenever they
	// were written; nil when they are not known.
	texts map[int]string
	// unasked is a field that a report gave without being asked for; "" for none.
	unasked string
}

// readTouched asks NinjaOne what it holds of ours: of the fields of HTML only
// when they were written since the last completed run, one call where none was;
// of the compliance field, which conditions and filters rely on, every value,
// two calls for a thousand devices. For a field that was cleared a report has
// nothing, so that only a whole one shows it. An answer that cannot be had is no
// problem, since the weekly rewrite heals as well.
func (j *job) readTouched(ctx context.Context, fields mappedFields) touched {
	var found touched
	if j.run.LastSuccess.IsZero() {
		return found
	}
	if names := fields.names(deviceLinks, deviceSummary); len(names) > 0 {
		found.written = map[int]map[string]time.Time{}
		complete := j.report(ctx, names, j.run.LastSuccess.Add(-skew), &found.unasked, func(id int, f ninjaone.FieldValue) {
			if found.written[id] == nil {
				found.written[id] = map[string]time.Time{}
			}
			found.written[id][f.Name] = f.Updated
		})
		if !complete {
			found.written = nil
		}
	}
	if name := fields[deviceCompliance]; name != "" {
		found.texts = map[int]string{}
		complete := j.report(ctx, []string{name}, time.Time{}, &found.unasked, func(id int, f ninjaone.FieldValue) {
			found.texts[id] = f.Text
		})
		if !complete {
			found.texts = nil
		}
	}
	return found
}

// report gives every value of a report to each, and names a field that it was
// not asked for, which it leaves out; false when it could not be read to its end.
func (j *job) report(ctx context.Context, names []string, since time.Time, unasked *string, each func(deviceID int, f ninjaone.FieldValue)) bool {
	for v, err := range j.client.DeviceFieldValues(ctx, j.mapping.OrganizationID, names, since) {
		if err != nil {
			j.log.InfoContext(ctx, "what NinjaOne holds of our fields could not be read", "error", err)
			return false
		}
		for _, f := range v.Fields {
			if slices.Contains(names, f.Name) {
				each(v.DeviceID, f)
			} else {
				*unasked = f.Name
			}
		}
	}
	return true
}

// strays tells what the reports gave beyond what they were asked for, and leaves
// it out: values of devices that are not of the organization.
func (j *job) strays(in *reading) {
	strays := map[int]bool{}
	leave := func(id int) bool {
		if j.roster.Unsure(id) && !j.roster.Unusable {
			strays[id] = true
		}
		return strays[id]
	}
	maps.DeleteFunc(in.touched.written, func(id int, _ map[string]time.Time) bool { return leave(id) })
	maps.DeleteFunc(in.touched.texts, func(id int, _ string) bool { return leave(id) })
	if len(strays) > 0 {
		j.problems.Add("report:devices", "NinjaOne's report of custom fields has %d devices, such as device %d, that NinjaOne does not list in organization %d, which alone was asked for. "+
			"They are left out. If this lasts, ask NinjaOne's support why the device filter is not applied.", len(strays), slices.Min(slices.Collect(maps.Keys(strays))), j.mapping.OrganizationID)
	}
	if in.touched.unasked != "" {
		j.problems.Add("report:fields", "NinjaOne's report of custom fields has fields that were not asked for, such as %q. They are left out. "+
			"If this lasts, ask NinjaOne's support why the filter of fields is not applied.", in.touched.unasked)
	}
}

// heal marks the fields that somebody else wrote or cleared after we did, so
// that they are sent again. A text is compared as it is; NinjaOne may give HTML
// back in another form, so there the time decides.
func (in *reading) heal(compliance string, roster *devicematch.Roster) {
	for t, r := range in.records {
		if t.Kind != ledger.KindDevice {
			continue
		}
		for name, updated := range in.touched.written[t.ID] {
			if ledger.Holds(r.Fields[name]) && !r.Written.IsZero() && updated.After(r.Written.Add(skew)) {
				r.Fields[name] = ledger.Unknown
			}
		}
	}
	if compliance == "" || in.touched.texts == nil {
		return
	}
	var cleared []*ledger.Record
	held := 0
	for _, d := range in.devices {
		r := in.records[ledger.Device(d.ID)]
		if r == nil || !ledger.Holds(r.Fields[compliance]) || r.Fields[compliance] == ledger.Unknown {
			continue
		}
		text, there := in.touched.texts[d.ID]
		switch {
		case !there && roster.Lacked[d.ID]: // as little evidence as the list
		case !there || text == "":
			cleared = append(cleared, r)
		case ledger.Digest(ninjaone.Text(text)) != r.Fields[compliance]:
			r.Fields[compliance] = ledger.Unknown
		default:
			held++
		}
	}
	// A report that lacks most of what NinjaOne accepted is rather one that does
	// not say what we take it to say, and each value sent again costs a call.
	if len(cleared) <= max(held, believed) {
		for _, r := range cleared {
			r.Fields[compliance] = ledger.Unknown
		}
	}
}
