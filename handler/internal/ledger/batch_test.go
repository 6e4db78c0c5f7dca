package ledger

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// batch is what a sync marks of one device that was read so many minutes after
// noon, and of another one, so that it is a transaction.
func batch(t *testing.T, l *Ledger, minute int, values ninjaone.Fields) (*Send, *Batch) {
	t.Helper()
	records, err := l.Load(t.Context(), testOrg)
	must(t, err)
	r := records[Device(testDevice)]
	if r == nil {
		r = &Record{Target: Device(testDevice), Fields: map[string]string{}}
	}
	r.TenantID = tenantOne
	s := NewSend(r, values)
	b, err := l.Mark(t.Context(), testOrg, Reading{tenantOne, testShared, noon.Add(time.Duration(minute) * time.Minute)}, []*Send{s,
		NewSend(&Record{Target: Device(testDevice + 1), TenantID: tenantOne, Fields: map[string]string{}}, ninjaone.Fields{"links": links})})
	must(t, err)
	return s, b
}

// end settles a batch whose values NinjaOne accepted, and returns what is noted.
func end(t *testing.T, l *Ledger, s *Send, b *Batch) map[string]string {
	t.Helper()
	for name := range s.Values {
		s.Accept(name, noon)
	}
	must(t, b.Settle(t.Context()))
	records, err := l.Load(t.Context(), testOrg)
	must(t, err)
	if r := records[Device(testDevice)]; r != nil {
		return r.Fields
	}
	return nil
}

var links = ninjaone.HTML("<p>l</p>")

// TestABatchAndAnotherWriter lets package compliance write the device's field
// between the steps of a sync's batch: the newer reading wins, and where both may
// be on their way neither is taken for certain.
func TestABatchAndAnotherWriter(t *testing.T) {
	eachField(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			between, after  func(t *testing.T, others *Ledger) // marking's steps; marking and settling
			settling        func(t *testing.T, others *Ledger) // settling's steps
			fresh           bool                               // nothing was written before
			minute          int
			sent            ninjaone.Value
			want            string // of the compliance field
			nothing, gone   bool
			alsoClearsLinks bool
		}{
			"nobody": {minute: 1, sent: nonCompliant, want: Digest(nonCompliant)},
			"a newer reading, before the marks": {minute: 1, sent: nonCompliant, want: Digest(compliant), nothing: true,
				between: func(t *testing.T, l *Ledger) { written(t, l, forcedAt(5, compliant)) }},
			"an older reading, before the marks": {minute: 5, sent: nonCompliant, want: Digest(nonCompliant),
				between: func(t *testing.T, l *Ledger) { written(t, l, forcedAt(1, compliant)) }},
			"an older reading, before the marks of what was there": {minute: 5, sent: compliant, want: Digest(compliant),
				between: func(t *testing.T, l *Ledger) { written(t, l, at(1, nonCompliant)) }},
			"a newer reading, before the end": {minute: 1, sent: nonCompliant, want: Unknown,
				after: func(t *testing.T, l *Ledger) { settle(t, claim(t, l, at(5, compliant)), accepted) }},
			"a newer reading that is still being sent": {minute: 1, sent: nonCompliant, want: Unknown,
				after: func(t *testing.T, l *Ledger) { claim(t, l, at(5, compliant)) }},
			"a sweep of a newer list": {minute: 1, sent: nonCompliant, want: Digest(compliant), nothing: true,
				between: func(t *testing.T, l *Ledger) {
					must(t, l.MarkSwept(t.Context(), tenantOne, noon.Add(5*time.Minute)))
				}},
			"a newer reading, while it is settled": {minute: 1, sent: nonCompliant, want: Unknown,
				settling: func(t *testing.T, l *Ledger) { claim(t, l, at(5, compliant)) }},
			"a newer reading of a new device": {fresh: true, minute: 1, sent: nonCompliant, want: Digest(compliant), nothing: true,
				between: func(t *testing.T, l *Ledger) { written(t, l, at(5, compliant)) }},
			"cleared, and forgotten": {minute: 1, sent: ninjaone.Clear(), alsoClearsLinks: true, gone: true},
			"cleared, and a newer reading before the end": {minute: 1, sent: ninjaone.Clear(), alsoClearsLinks: true, want: Unknown,
				after: func(t *testing.T, l *Ledger) { claim(t, l, at(5, nonCompliant)) }},
		} {
			t.Run(name, func(t *testing.T) {
				table := azuritetest.UniqueName(t)
				connection, traffic := azuritetest.Watched(t)
				own, others := stateOver(t, connection, table), stateOver(t, azuritetest.ForTest(t).ConnectionString(), table)
				meanwhile := func(do func(t *testing.T, others *Ledger)) {
					if do != nil {
						happens := func() bool { do(t, others); return false }
						traffic.Between.Store(&happens)
					}
				}
				s, b := batch(t, others, 0, ninjaone.Fields{testField: compliant, "links": links})
				if end(t, others, s, b); tt.fresh {
					must(t, others.Forget(t.Context(), testOrg, Device(testDevice)))
				}
				meanwhile(tt.between)
				values := ninjaone.Fields{testField: tt.sent, "links": ninjaone.HTML("<p>m</p>")}
				if tt.alsoClearsLinks {
					values["links"] = ninjaone.Clear()
				}
				s, b = batch(t, own, tt.minute, values)
				if _, sent := s.Values[testField]; sent == tt.nothing {
					t.Errorf("the compliance value is sent: %v", sent)
				}
				if tt.after != nil {
					tt.after(t, others)
				}
				meanwhile(tt.settling)
				fields := end(t, own, s, b)
				if (fields == nil) != tt.gone {
					t.Errorf("forgotten: %v, want %v", fields == nil, tt.gone)
				}
				if tt.gone {
					return
				}
				if fields[testField] != tt.want || fields["links"] != Digest(values["links"]) {
					t.Errorf("the notes are %v, want %q", fields, tt.want)
				}
			})
		}
	})
}

func forcedAt(minute int, v ninjaone.Value) write {
	w := at(minute, v)
	w.force = true
	return w
}

// TestABatchWhoseAnswersAreLost marks and settles although storage's answers are
// lost: it does not take its own writes for somebody else's.
func TestABatchWhoseAnswersAreLost(t *testing.T) {
	eachField(t, func(t *testing.T) {
		for name, lose := range map[string]int{"marks": 1, "settling": 2} {
			t.Run(name, func(t *testing.T) {
				table := azuritetest.UniqueName(t)
				connection, traffic := azuritetest.Watched(t)
				own, others := stateOver(t, connection, table), stateOver(t, azuritetest.ForTest(t).ConnectionString(), table)
				s, b := batch(t, others, 0, ninjaone.Fields{testField: compliant, "links": links})
				end(t, others, s, b)
				lost := func() bool { return true }
				if lose == 1 {
					traffic.Between.Store(&lost)
				}
				s, b = batch(t, own, 1, ninjaone.Fields{testField: nonCompliant, "links": ninjaone.HTML("<p>m</p>")})
				if len(s.Values) != 2 {
					t.Fatalf("%d values are sent", len(s.Values))
				}
				if lose == 2 {
					traffic.Between.Store(&lost)
				}
				fields := end(t, own, s, b)
				if traffic.Between.Load() != nil {
					t.Fatal("no answer was lost")
				}
				if fields[testField] != Digest(nonCompliant) || fields["links"] != Digest(ninjaone.HTML("<p>m</p>")) {
					t.Errorf("the notes are %v", fields)
				}
			})
		}
	})
}

// TestABatchOfLargeValues settles more than one transaction takes.
func TestABatchOfLargeValues(t *testing.T) {
	l := newTestState(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var sends []*Send
	for id := range MaxBatch {
		values := ninjaone.Fields{testField: compliant}
		for _, name := range []string{"links", "details"} {
			var noise strings.Builder
			for noise.Len() < 60_000 {
				fmt.Fprintf(&noise, "%x", rng.Uint64())
			}
			values[name] = ninjaone.HTML(noise.String())
		}
		sends = append(sends, NewSend(&Record{Target: Device(id + 1), TenantID: tenantOne, Fields: map[string]string{}}, values))
	}
	b, err := l.Mark(t.Context(), testOrg, Reading{tenantOne, testShared, noon}, sends)
	must(t, err)
	for _, s := range sends {
		for name := range s.Values {
			s.Accept(name, noon)
		}
	}
	must(t, b.Settle(t.Context()))
	records, err := l.Load(t.Context(), testOrg)
	must(t, err)
	for _, s := range sends {
		r := records[s.Record.Target]
		for name, v := range s.Values {
			if r == nil || r.Fields[name] != Digest(v) {
				t.Fatalf("%s: %s is noted as %+v", s.Record.Target, name, r)
			}
		}
	}
}
