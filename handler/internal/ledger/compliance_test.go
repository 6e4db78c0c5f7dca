package ledger

import (
	"errors"
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

// at is a write of a value that was read so many minutes after noon.
func at(minute int, v ninjaone.Value) ComplianceWrite {
	return ComplianceWrite{Organization: testOrg, DeviceID: testDevice, TenantID: tenantOne,
		Fields: testShared, Values: ninjaone.Fields{testField: v}, Read: noon.Add(time.Duration(minute) * time.Minute)}
}

func claim(t *testing.T, s *Ledger, w ComplianceWrite) *Claim {
	t.Helper()
	c, err := s.ClaimCompliance(t.Context(), w)
	must(t, err)
	if c == nil {
		t.Fatal("there was nothing to send")
	}
	return c
}

func settle(t *testing.T, c *Claim, o Outcome) bool {
	t.Helper()
	overtaken, err := c.Settle(t.Context(), c.All(o))
	must(t, err)
	return overtaken
}

// written writes a value as an undisturbed writer does.
func written(t *testing.T, s *Ledger, w ComplianceWrite) {
	t.Helper()
	if settle(t, claim(t, s, w), Accepted) {
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
		forced := func(w ComplianceWrite) ComplianceWrite { w.Force = true; return w }
		other := func(w ComplianceWrite) ComplianceWrite { w.TenantID = tenantTwo; return w }
		tests := map[string]struct {
			before []ComplianceWrite
			write  ComplianceWrite
			claims bool
			newer  bool
		}{
			"first":                               {nil, at(0, compliant), true, false},
			"clear what was never ours":           {nil, at(0, ninjaone.Clear()), false, false},
			"same value":                          {[]ComplianceWrite{at(0, compliant)}, at(1, compliant), false, false},
			"same value, forced":                  {[]ComplianceWrite{at(0, compliant)}, forced(at(1, compliant)), true, false},
			"other value, newer":                  {[]ComplianceWrite{at(0, compliant)}, at(1, nonCompliant), true, false},
			"other value, older":                  {[]ComplianceWrite{at(1, compliant)}, at(0, nonCompliant), false, true},
			"older, forced":                       {[]ComplianceWrite{at(1, compliant)}, forced(at(0, nonCompliant)), false, true},
			"same value, older":                   {[]ComplianceWrite{at(1, compliant)}, at(0, compliant), false, true},
			"clear, newer":                        {[]ComplianceWrite{at(0, compliant)}, at(1, ninjaone.Clear()), true, false},
			"clear, older":                        {[]ComplianceWrite{at(1, compliant)}, at(0, ninjaone.Clear()), false, true},
			"clear what is cleared":               {[]ComplianceWrite{at(0, compliant), at(1, ninjaone.Clear())}, at(2, ninjaone.Clear()), false, false},
			"back after a clear":                  {[]ComplianceWrite{at(0, compliant), at(1, ninjaone.Clear())}, at(2, compliant), true, false},
			"another tenant's device":             {[]ComplianceWrite{at(0, compliant)}, other(at(1, nonCompliant)), false, false},
			"a device in another organization":    {[]ComplianceWrite{at(1, compliant)}, ComplianceWrite{Organization: Organization{testInstance, 18}, DeviceID: testDevice, TenantID: tenantOne, Fields: testShared, Values: ninjaone.Fields{testField: nonCompliant}, Read: noon}, true, false},
			"another field, older than the first": {[]ComplianceWrite{at(1, compliant)}, ComplianceWrite{Organization: testOrg, DeviceID: testDevice, TenantID: tenantOne, Fields: otherShared(), Values: ninjaone.Fields{"other": nonCompliant}, Read: noon}, true, false},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				s := newTestState(t)
				for _, w := range tt.before {
					written(t, s, w)
				}
				c, err := s.ClaimCompliance(t.Context(), tt.write)
				if errors.Is(err, ErrNewerState) != tt.newer || err != nil && !tt.newer {
					t.Fatalf("error %v, want one about a newer state: %v", err, tt.newer)
				}
				if (c != nil) != tt.claims {
					t.Errorf("claimed = %v, want %v", c != nil, tt.claims)
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
		if c, err := s.ClaimCompliance(t.Context(), at(5, compliant)); c != nil || err != nil {
			t.Fatalf("claimed %v, %v", c, err)
		}
		if _, err := s.ClaimCompliance(t.Context(), at(3, nonCompliant)); !errors.Is(err, ErrNewerState) {
			t.Errorf("an older state was let through: %v", err)
		}
		claim(t, s, at(6, nonCompliant))
	})
}

func TestASweepOutdatesOlderReadings(t *testing.T) {
	eachField(t, func(t *testing.T) {
		s := newTestState(t)
		written(t, s, at(0, compliant))
		must(t, s.MarkSwept(t.Context(), tenantOne, noon.Add(5*time.Minute)))
		if _, err := s.ClaimCompliance(t.Context(), at(3, nonCompliant)); !errors.Is(err, ErrNewerState) {
			t.Errorf("a reading from before the sweep was let through: %v", err)
		}
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
		if settle(t, newer, Accepted) {
			t.Error("the newer writer was told that it was overtaken")
		}
		if noted(t, s).Holds(testField, compliant) {
			t.Error("the value is taken for certain while an older request is under way")
		}
		settle(t, older, Accepted)
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
		settle(t, newer, Accepted)
		written(t, s, at(3, compliant)) // a sweep thinks that all is well again
		if !settle(t, older, Accepted) {
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
			outcome Outcome
			holds   ninjaone.Value
			nothing bool
		}{
			"accepted": {Accepted, nonCompliant, false},
			"refused":  {Refused, compliant, false},
			"unknown":  {Lost, ninjaone.Value{}, true},
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
		if c, err := s.ClaimCompliance(t.Context(), at(1, compliant)); c != nil || err != nil {
			t.Fatalf("a value that is being sent was claimed again: %v, %v", c, err)
		}
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

func TestRecordChanges(t *testing.T) {
	compliant := ninjaone.Text("Compliant")
	tests := map[string]struct {
		have  string // what the record notes of the field
		want  ninjaone.Value
		force bool
		sent  bool
	}{
		"never written":                           {"", compliant, false, true},
		"same value":                              {Digest(compliant), compliant, false, false},
		"same value, forced":                      {Digest(compliant), compliant, true, true},
		"other value":                             {Digest(ninjaone.Text("Non-Compliant")), compliant, false, true},
		"same text as HTML is another value":      {Digest(ninjaone.HTML("Compliant")), compliant, false, true},
		"outcome of the last write unknown":       {Unknown, compliant, false, true},
		"cleared before":                          {Cleared, compliant, false, true},
		"clear what was never ours":               {"", ninjaone.Clear(), false, false},
		"clear what was never ours, forced":       {"", ninjaone.Clear(), true, false},
		"clear what we wrote":                     {Digest(compliant), ninjaone.Clear(), false, true},
		"clear after a write of unknown outcome":  {Unknown, ninjaone.Clear(), false, true},
		"clear what we cleared":                   {Cleared, ninjaone.Clear(), false, false},
		"clear what we cleared, forced":           {Cleared, ninjaone.Clear(), true, false},
		"an empty text clears a field of ours":    {Digest(compliant), ninjaone.Clear(), false, true},
		"a text that is not empty does not clear": {Digest(compliant), compliant, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := Record{Fields: map[string]string{"cippCompliance": tt.have}}
			if tt.force {
				r.MarkUnknown()
			}
			send := Changes(r.Fields, ninjaone.Fields{"cippCompliance": tt.want})
			if got, sent := send["cippCompliance"]; sent != tt.sent {
				t.Fatalf("sent = %v, want %v", sent, tt.sent)
			} else if sent && got != tt.want {
				t.Errorf("sent %v, want %v", got, tt.want)
			}
		})
	}
}
