package documents

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/ninjasim"
)

// TestWhoseRelations has relations of CIPP and of technicians in NinjaOne before
// the first run: CIPP's are kept exact, and technicians' are never touched.
func TestWhoseRelations(t *testing.T) {
	for name, makers := range map[string]ninjasim.Makers{
		"everybody is named": ninjasim.MakersSaid, "users are named": ninjasim.MakersOfUsers, "nobody is named": ninjasim.MakersUnsaid,
	} {
		t.Run(name, func(t *testing.T) {
			w, m, ids := small(t)
			users, _ := fromCIPP(w, m)
			w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{Makers: makers})
			devices := slices.Sorted(maps.Keys(m.devices)) // two of the first user, one of the second
			pair := func(device int, user string, technician bool) int {
				return w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: users[user], MadeByTechnician: technician})
			}
			stale := pair(m.devices[devices[0]].ninja, ids[2], false)
			kept := []int{}
			for i, id := range []int{901, 902} {
				w.AddDevice(ninjasim.Device{ID: id, OrganizationID: organization, SystemName: "SERVER"})
				kept = append(kept, pair(id, ids[i], true))
			}
			if makers != ninjasim.MakersUnsaid {
				kept = append(kept, pair(m.devices[devices[2]].ninja, ids[2], true)) // CIPP had that device in its map
				// One that we would make ourselves.
				for _, n := range w.Relations() {
					if n.EntityType == "NODE" && n.EntityID == m.devices[devices[1]].ninja {
						w.RemoveRelation(n.ID)
					}
				}
				kept = append(kept, pair(m.devices[devices[1]].ninja, ids[0], true))
			}
			there := func(id int) bool {
				return slices.ContainsFunc(w.Relations(), func(n ninjasim.Relation) bool { return n.ID == id })
			}
			check := func(when string) {
				t.Helper()
				w.verify(m)
				for _, id := range kept {
					if !there(id) {
						t.Errorf("%s: the technicians' relation %d is gone", when, id)
					}
				}
				if there(stale) {
					t.Errorf("%s: CIPP's relation that ended is still there", when)
				}
			}
			w.sync(m)
			check("after the first run")
			w.ResetCounters()
			w.sync(m)
			if n := len(w.DocumentWrites()); n > 0 {
				t.Errorf("an unchanged run wrote %v", w.actions())
			}
			// Devices change hands: CIPP's relations end with ours, technicians' stay.
			for _, id := range devices {
				m.devices[id] = gadget{m.devices[id].ninja, ids[1]}
			}
			w.sync(m)
			check("after devices changed hands")
			w.now = w.now.Add(relistAfter)
			w.sync(m)
			check("a week later")
		})
	}
}

// TestMakersAreLearntLater adopts what CIPP left in a run that relates nothing
// itself, so that it cannot tell CIPP's relations from technicians'.
func TestMakersAreLearntLater(t *testing.T) {
	w, m, ids := small(t)
	w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{Makers: ninjasim.MakersSaid})
	for id := range m.users {
		m.users[id].skus = nil
	}
	clear(m.skus)
	m.buy("SPE_E3")
	users, _ := fromCIPP(w, m)
	for _, n := range w.Relations() {
		if n.EntityType == "DOCUMENT" {
			w.RemoveRelation(n.ID)
		}
	}
	device := m.devices[slices.Sorted(maps.Keys(m.devices))[0]].ninja
	w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: users[ids[1]]})
	w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: device, RelatedType: "DOCUMENT", RelatedID: users[ids[2]], MadeByTechnician: true})
	before := w.Relations()
	if r := w.sync(m); r.Unrelated != 0 || len(w.Relations()) != len(before) {
		t.Errorf("what may be a technician's was removed: %+v", r)
	}
	w.enrol(m, ids[2])
	if r := w.sync(m); r.Related != 1 {
		t.Errorf("one device more: %+v", r)
	}
	w.now = w.now.Add(relistAfter)
	if r := w.sync(m); r.Unrelated != 1 {
		t.Errorf("a week later: %+v", r)
	}
	w.verify(m)
	if n := len(w.Relations()); n != len(before) {
		t.Errorf("%d relations, want %d", n, len(before))
	}
}

// TestKilledBeforeRelating ends the process before NinjaOne relates a document to
// a device, and then a technician does so by hand: that relation is not ours.
func TestKilledBeforeRelating(t *testing.T) {
	for name, later := range map[string]time.Duration{"the next run looks": 0, "a week later everything is read": relistAfter} {
		t.Run(name, func(t *testing.T) {
			w, m, ids := small(t)
			w.SetDocumentationBehaviour(ninjasim.DocumentationBehaviour{Makers: ninjasim.MakersSaid})
			w.sync(m)
			device := w.enrol(m, ids[2])
			before := len(w.Relations())
			err := w.dying(m, false, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/relations") })
			if err == nil || len(w.Relations()) != before {
				t.Fatalf("the run ended with %v, and %d relations", err, len(w.Relations()))
			}
			mine := w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: m.devices[device].ninja,
				RelatedType: "DOCUMENT", RelatedID: w.live(m, userBlueprint)[ids[2]].ID, MadeByTechnician: true})
			w.now = w.now.Add(later)
			w.sync(m)
			w.verify(m)
			delete(m.devices, device)
			w.sync(m)
			if !slices.ContainsFunc(w.Relations(), func(n ninjasim.Relation) bool { return n.ID == mine }) {
				t.Error("the technician's relation is gone")
			}
		})
	}
}

// TestNinjaOneLeavesARelationAsItIs posts a relation that a technician made a
// moment before.
func TestNinjaOneLeavesARelationAsItIs(t *testing.T) {
	for name, b := range map[string]ninjasim.DocumentationBehaviour{
		"and refuses ours":                      {ExistingRelation: ninjasim.RelationRefused, Makers: ninjasim.MakersSaid},
		"and answers with it":                   {ExistingRelation: ninjasim.RelationIgnored, Makers: ninjasim.MakersSaid},
		"and refuses ours, and names nobody":    {ExistingRelation: ninjasim.RelationRefused},
		"and answers with it, and names nobody": {ExistingRelation: ninjasim.RelationIgnored},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, ids := small(t)
			w.SetDocumentationBehaviour(b)
			w.sync(m)
			device := w.enrol(m, ids[2])
			mine := w.AddRelation(ninjasim.Relation{EntityType: "NODE", EntityID: m.devices[device].ninja,
				RelatedType: "DOCUMENT", RelatedID: w.live(m, userBlueprint)[ids[2]].ID, MadeByTechnician: true})
			w.sync(m)
			delete(m.devices, device)
			w.sync(m)
			if !slices.ContainsFunc(w.Relations(), func(n ninjasim.Relation) bool { return n.ID == mine }) {
				t.Error("the technician's relation is gone")
			}
			w.verify(m)
		})
	}
}
