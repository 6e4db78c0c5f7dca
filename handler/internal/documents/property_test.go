package documents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/ninjasim"
)

// TestAnySequence applies random joiners, movers and leavers to two tenants of
// one organization, with answers lost and runs cut short at random, and checks
// that NinjaOne ends as a fresh sync would leave it. Each day tries some sequences.
func TestAnySequence(t *testing.T) {
	for _, seed := range draw.Below(t, 4, uint64(12)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t, 2)
			makers := []ninjasim.Makers{ninjasim.MakersUnsaid, ninjasim.MakersSaid, ninjasim.MakersOfUsers}[r.IntN(3)]
			behaviour := ninjasim.DocumentationBehaviour{
				MaxBatch:         []int{0, 0, 4}[r.IntN(3)],
				ListArchived:     r.IntN(3) == 0,
				DuplicateNames:   r.IntN(3) == 0,
				ArchivedNames:    r.IntN(3) == 0,
				LooseNames:       r.IntN(2) == 0,
				ExistingRelation: []ninjasim.ExistingRelation{ninjasim.RelationRefused, ninjasim.RelationDuplicated, ninjasim.RelationIgnored}[r.IntN(3)],
				Makers:           makers,
			}
			w.SetDocumentationBehaviour(behaviour)
			for _, m := range w.tenants {
				for _, part := range []string{"SPE_E3", "VISIO", m.domain} {
					m.buy(part)
				}
				for range 14 {
					w.mutate(r, m)
				}
			}
			cipps := false
			if r.IntN(2) == 0 {
				fromCIPP(w, w.tenants[0])
				cipps = true
				for _, n := range w.Relations() {
					if n.EntityType == "DOCUMENT" {
						w.RemoveRelation(n.ID) // of licences' documents that may be either tenant's
					}
				}
			}
			own := w.technicians()
			// Where NinjaOne says who made a relation, a technician's is known from
			// CIPP's even on a device that CIPP related, too.
			own.relate(r, makers != ninjasim.MakersUnsaid)
			for range 6 {
				m := w.tenants[r.IntN(2)]
				for range 1 + r.IntN(4) {
					w.mutate(r, m)
				}
				w.disturb(r, m)
				own.meddle(r, !behaviour.ListArchived)
				if makers != ninjasim.MakersUnsaid && r.IntN(2) == 0 {
					own.relate(r, true)
				}
			}
			w.wire.set(nil)
			w.now = w.now.Add(relistAfter) // within a week everything is read again
			for _, m := range w.tenants {
				r, err := w.run(t.Context(), m)
				must(t, err)
				if r.Duplicates > 0 && !cipps {
					t.Errorf("%d documents had been created twice", r.Duplicates)
				}
			}
			sync := w.sync
			if behaviour.ArchivedNames { // by documents of which nobody knows
				sync, w.othernames = w.misnamed, true
			}
			for _, m := range w.tenants {
				must(t, w.syncer.Ledger.Confirm(t.Context(), m.id))
				sync(m)
			}
			for _, m := range w.tenants {
				sync(m) // that there is nobody left to give a maker away does no harm now
				w.verify(m)
				w.verifyMap(m)
			}
			own.check()
			w.ResetCounters()
			for _, m := range w.tenants {
				sync(m)
			}
			if len(w.DocumentWrites()) > 0 {
				t.Errorf("an unchanged run wrote %v", w.actions())
			}
		})
	}
}

// mutate lets something happen in a tenant.
func (w *world) mutate(r *rand.Rand, m *model) {
	users, skus, devices := slices.Sorted(maps.Keys(m.users)), slices.Sorted(maps.Keys(m.skus)), slices.Sorted(maps.Keys(m.devices))
	pick := func(from []string) string {
		if len(from) == 0 {
			return ""
		}
		return from[r.IntN(len(from))]
	}
	some := func() []string {
		return slices.DeleteFunc(slices.Clone(skus), func(string) bool { return r.IntN(2) == 0 })
	}
	user := pick(users)
	switch n := r.IntN(10); {
	case n < 3 || user == "":
		w.enrol(m, m.join(fmt.Sprintf("Person %d", r.IntN(5)), some()...))
	case n == 3:
		delete(m.users, user)
	case n == 4:
		m.users[user].title = fmt.Sprint("Title ", r.IntN(3))
	case n == 5:
		m.users[user].name = fmt.Sprint("Renamed ", r.IntN(3))
	case n == 6:
		m.users[user].skus = some()
	case n == 7:
		if d := pick(devices); d != "" {
			m.devices[d] = gadget{m.devices[d].ninja, user}
		}
	case n == 8:
		delete(m.devices, pick(devices))
	case r.IntN(2) == 0:
		delete(m.skus, pick(skus))
		for _, p := range m.users {
			p.skus = slices.DeleteFunc(slices.Clone(p.skus), func(id string) bool { return m.skus[id] == "" })
		}
	default:
		m.buy([]string{"SPE_E3", "VISIO", "FLOW_FREE", m.domain}[r.IntN(4)])
	}
}

// disturb runs a tenant's sync with something going wrong on the way: an
// answer is lost, the run is cut short, or the process ends.
func (w *world) disturb(r *rand.Rand, m *model) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	at, kind := 2+r.IntN(20), r.IntN(4)
	n := 0
	var dead atomic.Bool
	w.wire.set(func(req *http.Request) error {
		w.wire.mu.Lock()
		defer w.wire.mu.Unlock()
		if strings.Contains(req.URL.Path, "/oauth/") {
			return nil
		}
		if n++; n != at {
			return nil
		}
		switch {
		case kind == 0:
			return nil
		case kind == 1 && req.Method == http.MethodPost:
			return errLost
		case kind == 2:
			dead.Store(true)
		}
		cancel()
		return errLost
	})
	w.endedWhen(dead.Load)
	defer func() { dead.Store(false) }()
	if r.IntN(4) == 0 {
		w.now = w.now.Add(relistAfter)
	}
	if _, err := w.run(ctx, m); err != nil && !errors.Is(err, context.Canceled) && !dead.Load() {
		w.t.Errorf("the run failed: %v", err)
	}
}

// technicians are people who work in NinjaOne meanwhile.
type technicians struct {
	*world
	contracts int // template of their own documents
	before    []ninjasim.Document
	mine      []int // relations
}

// technicians adds documents and relations of technicians, of which none may
// be touched.
func (w *world) technicians() *technicians {
	own := &technicians{world: w}
	own.contracts = w.AddTemplate(ninjasim.Template{Name: "Contracts", AllowMultiple: true, Items: []ninjasim.TemplateItem{{Name: "number", Type: "TEXT"}}})
	contract := w.AddDocument(ninjasim.Document{OrganizationID: organization, TemplateID: own.contracts, Name: "Contract", Fields: map[string]string{"number": "1"}})
	for _, d := range w.Devices(organization) {
		own.add(ninjasim.Relation{EntityType: "NODE", EntityID: d.ID, RelatedType: "DOCUMENT", RelatedID: contract})
	}
	for _, d := range w.Documents(organization) {
		if d.ID != contract {
			own.add(ninjasim.Relation{EntityType: "DOCUMENT", EntityID: d.ID, RelatedType: "DOCUMENT", RelatedID: contract})
		}
	}
	own.before = w.Documents(organization)
	return own
}

func (own *technicians) add(n ninjasim.Relation) {
	n.MadeByTechnician, n.CreatedAt = true, own.now
	own.mine = append(own.mine, own.AddRelation(n))
}

// relate relates devices to users' documents by hand, as we would or not. With
// related also those devices that are related by somebody else already.
func (own *technicians) relate(r *rand.Rand, related bool) {
	taken := map[int]bool{}
	for _, n := range own.Relations() {
		taken[n.EntityID] = taken[n.EntityID] || n.EntityType == "NODE" && !n.MadeByTechnician
	}
	for _, d := range own.Documents(organization) {
		for _, device := range own.Devices(organization) {
			if r.IntN(20) == 0 && d.TemplateID != own.contracts && d.Fields["cippUserID"] != "" && !d.Archived && (related || !taken[device.ID]) {
				own.add(ninjasim.Relation{EntityType: "NODE", EntityID: device.ID, RelatedType: "DOCUMENT", RelatedID: d.ID})
			}
		}
	}
}

// meddle changes what the handler wrote. That a document was archived by hand
// shows only where archived ones are not listed.
func (own *technicians) meddle(r *rand.Rand, archive bool) {
	for _, d := range own.Documents(organization) {
		switch {
		case d.TemplateID == own.contracts || d.Archived || d.Fields["cippTenantID"] == "":
		case archive && r.IntN(20) == 0:
			own.ChangeDocument(d.ID, func(d *ninjasim.Document) { d.Archived = true })
		case r.IntN(20) == 0:
			own.ChangeDocument(d.ID, func(d *ninjasim.Document) { d.Name += " (renamed)" })
		case d.Fields["cippUserID"] != "" && r.IntN(30) == 0: // a SKU id alone does not say whose it is
			own.ChangeDocument(d.ID, func(d *ninjasim.Document) { delete(d.Fields, "cippTenantID") })
		case r.IntN(30) == 0:
			for _, n := range own.Relations() { // which go with it
				if n.RelatedID == d.ID || n.EntityType == "DOCUMENT" && n.EntityID == d.ID {
					own.mine = slices.DeleteFunc(own.mine, func(id int) bool { return id == n.ID })
				}
			}
			own.RemoveDocument(d.ID)
		}
	}
	for _, n := range own.Relations() {
		if !n.MadeByTechnician && r.IntN(20) == 0 {
			own.RemoveRelation(n.ID)
		}
	}
}

// check fails the test unless the technicians' work is all there.
func (own *technicians) check() {
	own.t.Helper()
	there := map[int]bool{}
	for _, n := range own.Relations() {
		there[n.ID] = true
	}
	for _, id := range own.mine {
		if !there[id] {
			own.t.Errorf("the technicians' relation %d is gone", id)
		}
	}
	now := map[int]ninjasim.Document{}
	for _, d := range own.Documents(organization) {
		now[d.ID] = d
	}
	for _, d := range own.before {
		if is := now[d.ID]; d.TemplateID == own.contracts && (is.Name != d.Name || is.Archived || !maps.Equal(is.Fields, d.Fields)) {
			own.t.Errorf("the technicians' document %d changed", d.ID)
		}
	}
}
