package relations

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// TestClassify judges relations of the user's document 10, the licence's document
// 20 and the surplus document 30. The API application is the user 5.
func TestClassify(t *testing.T) {
	const user, license, extra, we, technician = 10, 20, 30, 5, 6
	relation := func(id int, host, related ninjaone.Entity, creator int) ninjaone.Relation {
		return ninjaone.Relation{ID: id, Host: host, Related: related, Creator: creator}
	}
	with := func(owner ledger.Owner, id int) []ledger.Relation {
		return []ledger.Relation{{Host: Device(1), ID: id, Owner: owner}}
	}
	ours := []int{we}
	pair := func(id, creator int) ninjaone.Relation { return relation(id, Device(1), Document(user), creator) }
	was := pair(7, we)
	was.Created = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		noted   []ledger.Relation
		makers  []int
		first   bool
		mapped  bool // device 1 is in CIPP's map
		since   time.Time
		have    []ninjaone.Relation
		want    []ledger.Relation
		surplus []int
		unsure  []int
	}{
		"none is there any more":                  {noted: with(ledger.Ours, 7)},
		"noted as ours":                           {noted: with(ledger.Ours, 7), makers: ours, have: []ninjaone.Relation{pair(7, technician)}, want: with(ledger.Ours, 7)},
		"new since":                               {makers: ours, have: []ninjaone.Relation{pair(7, we)}, want: with(ledger.Others, 0)},
		"another one than noted":                  {noted: with(ledger.Ours, 7), have: []ninjaone.Relation{pair(8, we)}, want: with(ledger.Others, 0)},
		"in flight, ours":                         {noted: with(ledger.InFlight, 0), makers: ours, have: []ninjaone.Relation{pair(7, we)}, want: with(ledger.Ours, 7)},
		"in flight, a technician's":               {noted: with(ledger.InFlight, 0), makers: ours, have: []ninjaone.Relation{pair(7, technician)}, want: with(ledger.Others, 0)},
		"in flight, nobody known":                 {noted: with(ledger.InFlight, 0), have: []ninjaone.Relation{pair(7, technician)}, want: with(ledger.Ours, 7)},
		"in flight, there before":                 {noted: with(ledger.InFlight, 0), makers: ours, since: was.Created.Add(2 * clocks), have: []ninjaone.Relation{was}, want: with(ledger.Others, 0)},
		"in flight, as the clocks differ":         {noted: with(ledger.InFlight, 0), makers: ours, since: was.Created.Add(clocks), have: []ninjaone.Relation{was}, want: with(ledger.Ours, 7)},
		"first, ours":                             {first: true, makers: ours, have: []ninjaone.Relation{pair(7, we)}, want: with(ledger.Ours, 7)},
		"first, a technician's":                   {first: true, makers: ours, have: []ninjaone.Relation{pair(7, technician)}, want: with(ledger.Others, 0)},
		"first, somebody's":                       {first: true, have: []ninjaone.Relation{pair(7, technician)}, want: with(ledger.Unsure, 7), unsure: []int{7}},
		"first, nobody is named, not CIPP's":      {first: true, have: []ninjaone.Relation{pair(7, 0)}, want: with(ledger.Others, 0)},
		"first, nobody is named, CIPP's":          {first: true, mapped: true, have: []ninjaone.Relation{pair(7, 0)}, want: with(ledger.Ours, 7)},
		"unsure, and known now":                   {noted: with(ledger.Unsure, 7), makers: ours, have: []ninjaone.Relation{pair(7, we)}, want: with(ledger.Ours, 7)},
		"unsure still":                            {noted: with(ledger.Unsure, 7), have: []ninjaone.Relation{pair(7, we)}, want: with(ledger.Unsure, 7), unsure: []int{7}},
		"twice":                                   {first: true, makers: ours, have: []ninjaone.Relation{pair(8, we), pair(7, we), pair(7, we)}, want: with(ledger.Ours, 7), surplus: []int{8}},
		"ours beside a technician's":              {first: true, makers: ours, have: []ninjaone.Relation{pair(7, technician), pair(8, we)}, want: with(ledger.Ours, 8)},
		"the other way round":                     {first: true, makers: ours, have: []ninjaone.Relation{relation(7, Document(user), Device(1), we)}, want: with(ledger.Others, 0)},
		"of a licence's document, nobody named":   {first: true, have: []ninjaone.Relation{relation(7, Document(license), Document(user), 0)}, want: []ledger.Relation{{Host: Document(license), ID: 7, Owner: ledger.Ours}}},
		"of others' documents":                    {first: true, makers: ours, have: []ninjaone.Relation{relation(7, Document(99), Document(user), we), relation(8, Device(1), Document(99), we)}},
		"of a surplus document":                   {makers: ours, have: []ninjaone.Relation{relation(7, Device(1), Document(extra), we)}, surplus: []int{7}},
		"of a surplus document, a technician's":   {makers: ours, have: []ninjaone.Relation{relation(7, Device(1), Document(extra), technician)}},
		"of a surplus document, somebody's":       {have: []ninjaone.Relation{relation(7, Device(1), Document(extra), technician)}, unsure: []int{7}},
		"of a user's to a surplus document, ours": {makers: ours, have: []ninjaone.Relation{relation(7, Document(extra), Document(user), we)}, surplus: []int{7}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &ledger.Document{DocumentID: user}
			for _, r := range tt.noted {
				d.Relations.Set(r)
			}
			k := Known{First: tt.first, Mapped: map[int]bool{1: tt.mapped}, Extras: map[int]bool{extra: true}, since: tt.since,
				users: map[int]*ledger.Document{user: d}, licenses: map[int]bool{license: true}, makers: makers{ids: map[int]bool{}}}
			for _, id := range tt.makers {
				k.makers.ids[id] = true
			}
			got := k.classify(tt.have)
			surplus, unsure := got.surplus, []int{}
			for _, n := range got.extras {
				surplus = append(surplus, n.ID)
			}
			for _, u := range got.unsure {
				unsure = append(unsure, u.relation.ID)
			}
			if diff := cmp.Diff([]any{tt.want, tt.surplus, tt.unsure}, []any{[]ledger.Relation(got.present[d]), surplus, unsure}, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
