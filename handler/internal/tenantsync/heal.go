package tenantsync

import (
	"context"
	"hash/fnv"
	"time"

	"cipp-ninjaone/handler/internal/accepted"
	"cipp-ninjaone/handler/internal/ninjaone"
)

const (
	// rested is how long ago a target must have been written for the weekly
	// rewrite to take it: what was written today needs no healing.
	rested = 24 * time.Hour
	// skew allows for NinjaOne's clock and ours, and for the time between
	// NinjaOne's note of a write and ours.
	skew = 2 * time.Minute
)

// weekly reports whether a target has its day of the week: on that day every
// value of ours is written once more, so that whatever happened to it in
// NinjaOne lasts a week at most. A hash spreads the targets over the week.
func (r *record) weekly(now time.Time) bool {
	if r.written.IsZero() || now.Sub(r.written) < rested || !r.holdsAny() {
		return false
	}
	h := fnv.New32a()
	h.Write([]byte(r.target.String()))
	return (now.Unix()/(24*60*60)+int64(h.Sum32()))%7 == 0
}

// touched is when a custom field of a device was last written in NinjaOne, and
// its text, by device id and field.
type touched map[int]map[string]ninjaone.FieldValue

// readTouched asks NinjaOne which device fields were written since the last
// completed run: one call where none was. An answer that cannot be had is no
// problem, since the weekly rewrite heals as well; it alone finds what was
// cleared, which the report leaves out.
func (j *job) readTouched(ctx context.Context, fields mappedFields) touched {
	names := fields.names(deviceLinks, deviceSummary, deviceCompliance)
	if j.run.LastSuccess.IsZero() || len(names) == 0 {
		return nil
	}
	found := touched{}
	for v, err := range j.client.DeviceFieldValues(ctx, j.mapping.OrganizationID, names, j.run.LastSuccess.Add(-skew)) {
		if err != nil {
			j.log.InfoContext(ctx, "what was changed in NinjaOne since the last run could not be read", "error", err)
			return nil
		}
		for _, f := range v.Fields {
			if found[v.DeviceID] == nil {
				found[v.DeviceID] = map[string]ninjaone.FieldValue{}
			}
			f.HTML = "" // only the text is compared
			found[v.DeviceID][f.Name] = f
		}
	}
	return found
}

// heal marks the fields that somebody else wrote after we did, so that they
// are sent again. A text is compared as it is; NinjaOne may give HTML back in
// another form, so there the time decides.
func (in *reading) heal(compliance string) {
	for t, r := range in.records {
		if t.kind != kindDevice {
			continue
		}
		for name, noted := range r.fields {
			f, ok := in.touched[t.id][name]
			switch {
			case !ok || !accepted.Holds(noted):
			case name == compliance:
				if digest(textOrClear(f.Text)) != noted {
					r.fields[name] = markSending
				}
			case !r.written.IsZero() && f.Updated.After(r.written.Add(skew)):
				r.fields[name] = markSending
			}
		}
	}
}
