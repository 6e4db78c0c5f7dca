package tenantsync

import (
	"fmt"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestHeal(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ours := ledger.Digest(ninjaone.Text("Compliant"))
	texts := func(text string) touched { return touched{texts: map[deviceField]string{{100, "compliance"}: text}} }
	wrote := func(at time.Time) touched {
		return touched{written: map[deviceField]time.Time{{100, "links"}: at}, texts: map[deviceField]string{{100, "compliance"}: "Compliant"}}
	}
	tests := map[string]struct {
		field, noted string
		found        touched
		want         string
	}{
		"nothing is known":                      {"links", "digest", touched{}, "digest"},
		"we wrote":                              {"links", "digest", wrote(noon), "digest"},
		"we wrote, by a clock that is ahead":    {"links", "digest", wrote(noon.Add(skew)), "digest"},
		"somebody wrote after us":               {"links", "digest", wrote(noon.Add(time.Hour)), ledger.Unknown},
		"somebody wrote where we cleared":       {"links", ledger.Cleared, wrote(noon.Add(time.Hour)), ledger.Cleared},
		"no compliance text is known":           {"compliance", ours, touched{}, ours},
		"the compliance text is ours":           {"compliance", ours, texts("Compliant"), ours},
		"somebody changed the compliance text":  {"compliance", ours, texts("Fine"), ledger.Unknown},
		"somebody emptied the compliance text":  {"compliance", ours, texts(""), ledger.Unknown},
		"somebody cleared the compliance field": {"compliance", ours, touched{texts: map[deviceField]string{}}, ledger.Unknown},
		"we cleared the compliance field":       {"compliance", ledger.Cleared, touched{texts: map[deviceField]string{}}, ledger.Cleared},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &ledger.Record{Target: device(100), Fields: map[string]string{tt.field: tt.noted}, Written: noon}
			in := &inputs{records: map[ledger.Target]*ledger.Record{r.Target: r}, touched: tt.found, fields: mappedFields{deviceCompliance: "compliance"},
				roster: &devicematch.Roster{Devices: []ninjaone.Device{{ID: 100, OrganizationID: labOrganization}}}}
			in.heal()
			if got := r.Fields[tt.field]; got != tt.want {
				t.Errorf("noted is %q, want %q", got, tt.want)
			}
		})
	}
}

// Every target has one day of the week, and about as many have one as another.
func TestWeeklyRewriteIsSpread(t *testing.T) {
	monday := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	perDay := [7]int{}
	const targets = 700
	for i := range targets {
		r := &ledger.Record{Target: device(i), Fields: map[string]string{"links": "digest"}, Written: monday.AddDate(0, 0, -30)}
		days := 0
		for d := range 7 {
			if weekly(r, monday.AddDate(0, 0, d)) {
				days++
				perDay[d]++
			}
		}
		if days != 1 {
			t.Fatalf("device %d has %d days of the week", i, days)
		}
	}
	for d, n := range perDay {
		if n < targets/7/2 || n > targets/7*2 {
			t.Errorf("day %d has %d of %d targets", d, n, targets)
		}
	}
}

func TestWeeklyRewriteLeavesOut(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, r := range map[string]ledger.Record{
		"written today":            {Fields: map[string]string{"links": "digest"}, Written: now.Add(-23 * time.Hour)},
		"nothing of ours":          {Fields: map[string]string{"links": ledger.Cleared}, Written: now.AddDate(0, 0, -30)},
		"written at no one's time": {Fields: map[string]string{"links": "digest"}},
	} {
		t.Run(name, func(t *testing.T) {
			for d := range 7 {
				r.Target = device(d * 31)
				if weekly(&r, now.Add(time.Duration(d)*time.Minute)) {
					t.Errorf("device %d is rewritten", r.Target.ID)
				}
			}
		})
	}
}

// What a technician overwrote since the last run is found in one report, and
// comes right with the next write, whether NinjaOne counts time in seconds or in
// milliseconds.
func TestOverwrittenFieldsAreSentAgain(t *testing.T) {
	for name, milliseconds := range map[string]bool{"seconds": false, "milliseconds": true} {
		t.Run(name, func(t *testing.T) {
			overwrittenFieldsAreSentAgain(t, newLab(t, 3, func(c *ninjasim.Config) { c.Milliseconds = milliseconds }))
		})
	}
}

func overwrittenFieldsAreSentAgain(t *testing.T, l *lab) {
	t.Helper()
	desired := func() wanted {
		w := wanted{}
		for i := range 3 {
			w[device(100+i)] = ninjaone.Fields{"links": ninjaone.HTML(fmt.Sprintf("<p>%d</p>", i)), "compliance": ninjaone.Text("Compliant")}
		}
		return w
	}
	l.wrote(desired())
	wrote := l.now()
	l.set(wrote.Add(30 * time.Minute))
	l.ninja.SetDeviceField(101, "links", "scribble")
	l.ninja.SetDeviceField(102, "compliance", "Fine")
	l.ninja.ResetCounters()

	l.healing(wrote, desired(), 3, mappedFields{deviceLinks: "links", deviceCompliance: "compliance"})
	if got := l.sent(device(101), "links"); got != "<p>1</p>" {
		t.Errorf("the overwritten field holds %q", got)
	}
	if got := l.sent(device(102), "compliance"); got != "Compliant" {
		t.Errorf("the overwritten text holds %q", got)
	}
	calls := l.ninja.Calls()
	if n := calls["GET /v2/queries/custom-fields-detailed"]; n != 3 {
		t.Errorf("%d calls found what was overwritten, want a page of each of two reports, and the empty one that ends the first", n)
	}
	if n := calls["PATCH /v2/device/{id}/custom-fields"]; n != 2 {
		t.Errorf("%d devices were written, want the 2 that were changed", n)
	}
}

// healing writes in a run that sees what happened to some fields since a time.
func (l *lab) healing(since time.Time, desired wanted, devices int, fields mappedFields) {
	l.t.Helper()
	w := l.writing(desired)
	w.run.LastSuccess = since
	w.in.roster.Devices, w.in.fields = l.devices(devices), fields
	w.in.touched = w.readTouched(l.t.Context(), fields, w.in.records)
	w.in.heal()
	must(l.t, w.write(l.t.Context()))
}

// devices are the machines of the lab as NinjaOne lists them.
func (l *lab) devices(n int) []ninjaone.Device {
	var list []ninjaone.Device
	for i := range n {
		list = append(list, ninjaone.Device{ID: 100 + i, OrganizationID: labOrganization})
	}
	return list
}

// A compliance text that somebody cleared comes back with the next run, unless
// NinjaOne shows hardly any of those that it accepted.
func TestClearedTextsAreSentAgain(t *testing.T) {
	tests := map[string]struct {
		devices, cleared, sent int
	}{
		"none":                        {20, 0, 0},
		"one":                         {20, 1, 1},
		"the only one":                {1, 1, 1},
		"half of them":                {40, 20, 20},
		"all, or the report is empty": {40, 40, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, tt.devices+1)
			desired := wanted{}
			for i := range tt.devices {
				desired[device(100+i)] = ninjaone.Fields{"compliance": ninjaone.Text("Compliant")}
			}
			l.wrote(desired)
			wrote := l.now()
			l.set(l.now().Add(time.Hour))
			for i := range tt.cleared {
				l.ninja.SetDeviceField(100+i, "compliance", "")
			}
			l.ninja.ResetCounters()
			l.healing(wrote, desired, tt.devices+1, mappedFields{deviceCompliance: "compliance"})
			if n := len(l.ninja.Writes()); n != tt.sent {
				t.Errorf("%d devices were written, want %d", n, tt.sent)
			}
			want := 1 // all that we wrote is on the first page
			if tt.cleared == tt.devices {
				want = 1 // which is the empty one
			} else if tt.cleared > 0 {
				want = 2
			}
			if n := l.ninja.Calls()["GET /v2/queries/custom-fields-detailed"]; n != want {
				t.Errorf("%d calls found it, want %d", n, want)
			}
		})
	}
}

// The run after one that wrote all devices is told of none of them, and of what
// a technician wrote since.
func TestOwnWritesAreNotReadBack(t *testing.T) {
	wrote := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	record := func(id int, at time.Time, fields map[string]string) *ledger.Record {
		return &ledger.Record{Target: device(id), Written: at, Fields: fields}
	}
	ours := map[string]string{"links": "digest"}
	for name, tt := range map[string]struct {
		records []*ledger.Record
		success time.Time // of the last run
		want    time.Time
	}{
		"all written in the last run":  {[]*ledger.Record{record(1, wrote, ours), record(2, wrote.Add(time.Minute), ours)}, wrote.Add(90 * time.Second), wrote.Add(skew)},
		"one written long before":      {[]*ledger.Record{record(1, wrote.AddDate(0, 0, -3), ours), record(2, wrote, ours)}, wrote.Add(time.Minute), wrote.Add(time.Minute - skew)},
		"a run after one without news": {[]*ledger.Record{record(1, wrote, ours)}, wrote.Add(24 * time.Hour), wrote.Add(24*time.Hour - skew)},
		"what holds nothing of ours":   {[]*ledger.Record{record(1, wrote.Add(time.Hour), map[string]string{"links": ledger.Cleared})}, wrote, wrote.Add(-skew)},
		"no record":                    {nil, wrote, wrote.Add(-skew)},
	} {
		t.Run(name, func(t *testing.T) {
			records := map[ledger.Target]*ledger.Record{}
			for _, r := range tt.records {
				records[r.Target] = r
			}
			if got := writtenSince(tt.success, records, []string{"links"}); !got.Equal(tt.want) {
				t.Errorf("asked since %s, want %s", got, tt.want)
			}
		})
	}
}
