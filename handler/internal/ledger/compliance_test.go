package ledger

import (
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

const (
	testInstance = "eu.ninjarmm.com"
	testDevice   = 7
	tenantOne    = "11111111-1111-4111-8111-111111111111"
	tenantTwo    = "22222222-2222-4222-8222-222222222222"
)

var (
	testOrg      = Organization{testInstance, 17}
	compliant    = ninjaone.Text("Compliant")
	nonCompliant = ninjaone.Text("Non-Compliant")
	noon         = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
)

// The shared field that a test writes, and its note.
var (
	testField  = "cippCompliance"
	testShared = Shared{Compliance: testField}
	testNote   = noteCompliance
)

// eachField runs a test with either of the shared fields: what holds of one holds of
// the other.
func eachField(t *testing.T, test func(t *testing.T)) {
	for _, testNote = range []note{noteSettings, noteCompliance} {
		testShared = Shared{}
		*testNote.in(&testShared) = testField
		t.Run(string(testNote), test)
	}
}

func newTestState(t *testing.T) *Ledger {
	t.Helper()
	return stateOver(t, azuritetest.ForTest(t).ConnectionString(), azuritetest.UniqueName(t))
}

func stateOver(t *testing.T, connection, table string) *Ledger {
	t.Helper()
	return New(storagetest.Open(t, connection).Upto(layout.Version).Table(table))
}

func otherShared() (s Shared) {
	*testNote.in(&s) = "other"
	return s
}

// write is values on their way to the shared fields of testDevice.
type write struct {
	org Organization
	Reading
	values ninjaone.Fields
	force  bool
}

// at is a write of a value that was read so many minutes after noon.
func at(minute int, v ninjaone.Value) write {
	return write{org: testOrg, Reading: Reading{tenantOne, testShared, noon.Add(time.Duration(minute) * time.Minute)}, values: ninjaone.Fields{testField: v}}
}

// pending is a write that is marked. Its batch is nil when there is nothing to send.
type pending struct {
	*Send
	batch *Batch
}

func mark(t *testing.T, l *Ledger, w write) pending {
	t.Helper()
	s := NewSharedSend(testDevice, w.values, w.force, nil)
	b, err := l.MarkShared(t.Context(), w.org, w.Reading, s)
	must(t, err)
	return pending{s, b}
}

func claim(t *testing.T, l *Ledger, w write) pending {
	t.Helper()
	c := mark(t, l, w)
	if c.batch == nil {
		t.Fatal("there was nothing to send")
	}
	return c
}

// leaves checks that there is nothing to send.
func leaves(t *testing.T, l *Ledger, w write) {
	t.Helper()
	if c := mark(t, l, w); c.batch != nil {
		t.Errorf("claimed %v, want nothing", c.Values)
	}
}

func settle(t *testing.T, c pending, o outcome) bool {
	t.Helper()
	for name := range c.Values {
		switch o {
		case accepted:
			c.Accept(name, noon)
		case refused:
			c.Refuse(name)
		}
	}
	must(t, c.batch.Settle(t.Context()))
	return c.Overtaken
}

// written writes a value as an undisturbed writer does.
func written(t *testing.T, s *Ledger, w write) {
	t.Helper()
	if settle(t, claim(t, s, w), accepted) {
		t.Fatal("overtaken")
	}
}

func noted(t *testing.T, s *Ledger) DeviceCompliance {
	t.Helper()
	notes, err := s.Compliance(t.Context(), testOrg, testShared)
	must(t, err)
	return notes[testDevice]
}

func TestClaim(t *testing.T) {
	eachField(t, func(t *testing.T) {
		forced := func(w write) write { w.force = true; return w }
		other := func(w write) write { w.TenantID = tenantTwo; return w }
		tests := map[string]struct {
			before []write
			write  write
			claims bool
		}{
			"first":                               {nil, at(0, compliant), true},
			"clear what was never ours":           {nil, at(0, ninjaone.Clear()), false},
			"same value":                          {[]write{at(0, compliant)}, at(1, compliant), false},
			"same value, forced":                  {[]write{at(0, compliant)}, forced(at(1, compliant)), true},
			"other value, newer":                  {[]write{at(0, compliant)}, at(1, nonCompliant), true},
			"other value, older":                  {[]write{at(1, compliant)}, at(0, nonCompliant), false},
			"older, forced":                       {[]write{at(1, compliant)}, forced(at(0, nonCompliant)), false},
			"same value, older":                   {[]write{at(1, compliant)}, at(0, compliant), false},
			"clear, newer":                        {[]write{at(0, compliant)}, at(1, ninjaone.Clear()), true},
			"clear, older":                        {[]write{at(1, compliant)}, at(0, ninjaone.Clear()), false},
			"clear what is cleared":               {[]write{at(0, compliant), at(1, ninjaone.Clear())}, at(2, ninjaone.Clear()), false},
			"back after a clear":                  {[]write{at(0, compliant), at(1, ninjaone.Clear())}, at(2, compliant), true},
			"another tenant's device":             {[]write{at(0, compliant)}, other(at(1, nonCompliant)), false},
			"a device in another organization":    {[]write{at(1, compliant)}, write{org: Organization{testInstance, 18}, Reading: Reading{tenantOne, testShared, noon}, values: ninjaone.Fields{testField: nonCompliant}}, true},
			"another field, older than the first": {[]write{at(1, compliant)}, write{org: testOrg, Reading: Reading{tenantOne, otherShared(), noon}, values: ninjaone.Fields{"other": nonCompliant}}, true},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				s := newTestState(t)
				for _, w := range tt.before {
					written(t, s, w)
				}
				if c := mark(t, s, tt.write); (c.batch != nil) != tt.claims {
					t.Errorf("claimed = %v, want %v", c.batch != nil, tt.claims)
				}
			})
		}
	})
}

func TestAStateThatStillHoldsOutlivesAnOlderOne(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		// Read at minute 5: compliant still. Nothing is sent, and yet what somebody
		// read at minute 3 is out of date.
		leaves(t, s, at(5, compliant))
		leaves(t, s, at(3, nonCompliant))
		claim(t, s, at(6, nonCompliant))
	})
}

func TestASweepOutdatesOlderReadings(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		must(t, s.MarkSwept(t.Context(), tenantOne, noon.Add(5*time.Minute)))
		leaves(t, s, at(3, nonCompliant))
		written(t, s, at(5, nonCompliant)) // the sweep's own
		must(t, s.MarkSwept(t.Context(), tenantTwo, noon.Add(time.Hour)))
		written(t, s, at(6, compliant)) // another tenant's sweep says nothing
	})
}

func TestTwoWritersAtOnce(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		older := claim(t, s, at(1, nonCompliant))
		newer := claim(t, s, at(2, compliant))
		// The newer one's request may have been served before the older one's.
		if settle(t, newer, accepted) {
			t.Error("the newer writer was told that it was overtaken")
		}
		if noted(t, s).Holds(testField, compliant) {
			t.Error("the value is taken for certain while an older request is under way")
		}
		settle(t, older, accepted)
		if d := noted(t, s); d.Holds(testField, compliant) || d.Holds(testField, nonCompliant) || !d.Ours(testField) {
			t.Errorf("after two requests at once the note is %+v", d)
		}
		written(t, s, at(3, compliant)) // the next sweep's
		if !noted(t, s).Holds(testField, compliant) {
			t.Error("the value is not certain after all")
		}
	})
}

func TestTheOlderWriterEndsLast(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		older := claim(t, s, at(1, nonCompliant))
		newer := claim(t, s, at(2, compliant))
		settle(t, newer, accepted)
		written(t, s, at(3, compliant)) // a sweep thinks that all is well again
		if !settle(t, older, accepted) {
			t.Error("the older writer was not told that it was overtaken")
		}
		if noted(t, s).Holds(testField, compliant) {
			t.Error("a value that an older request may have replaced is taken for certain")
		}
	})
}

func TestOutcomes(t *testing.T) {
	eachField(t, func(t *testing.T) {
		tests := map[string]struct {
			outcome outcome
			holds   ninjaone.Value
			nothing bool
		}{
			"accepted": {accepted, nonCompliant, false},
			"refused":  {refused, compliant, false},
			"unknown":  {lost, ninjaone.Value{}, true},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				s := newTestState(t)
				written(t, s, at(0, compliant))
				settle(t, claim(t, s, at(1, nonCompliant)), tt.outcome)
				d := noted(t, s)
				if tt.nothing {
					if d.Holds(testField, compliant) || d.Holds(testField, nonCompliant) || !d.Ours(testField) || d.Changed(testField, compliant) {
						t.Errorf("the note is %+v", d)
					}
				} else if !d.Holds(testField, tt.holds) {
					t.Errorf("the note is %+v", d)
				}
			})
		}
	})
}

func TestAClaimWhoseWriterIsGone(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		claim(t, s, at(0, compliant)) // and never settled
		if noted(t, s).Holds(testField, compliant) {
			t.Error("a value that was never confirmed is taken for certain")
		}
		leaves(t, s, at(1, compliant))
		// Its time is over.
		key := storage.Entity{"PartitionKey": testOrg.Partition(), "RowKey": rowKey(Device(testDevice)),
			testNote.since(): time.Now().Add(-claimLife)}
		must(t, s.table.Merge(t.Context(), key))
		written(t, s, at(2, compliant))
		if !noted(t, s).Holds(testField, compliant) {
			t.Error("the value is not noted")
		}
	})
}

func TestTheSyncLeavesComplianceNotesAlone(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		// A sync that loaded before a newer state was written saves after it.
		records, err := s.Load(t.Context(), testOrg)
		must(t, err)
		r := records[Device(testDevice)]
		if r == nil || r.Fields[testField] != Digest(compliant) {
			t.Fatalf("the sync loads %+v", r)
		}
		written(t, s, at(5, nonCompliant))
		r.Fields["cippLinks"] = "digest"
		must(t, s.Save(t.Context(), testOrg, r))
		if !noted(t, s).Holds(testField, nonCompliant) {
			t.Error("the sync overwrote the newer note")
		}
		records, err = s.Load(t.Context(), testOrg)
		must(t, err)
		if got := records[Device(testDevice)].Fields; got["cippLinks"] != "digest" || got[testField] != Digest(nonCompliant) {
			t.Errorf("the record holds %v", got)
		}
	})
}

func TestTheCompliancePathKeepsItsValue(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		kept, err := s.Values(t.Context(), testOrg, testDevice)
		must(t, err)
		if want := (Value{Text: "Compliant", Certain: true}); kept[testField] != want {
			t.Errorf("kept %v, want %v", kept, want)
		}
		claim(t, s, at(1, nonCompliant))
		kept, err = s.Values(t.Context(), testOrg, testDevice)
		must(t, err)
		if want := (Value{Text: "Compliant"}); kept[testField] != want {
			t.Errorf("while another value is on its way, %v is kept, want %v", kept, want)
		}
	})
}
