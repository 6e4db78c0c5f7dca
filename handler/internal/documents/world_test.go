package documents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents/relations"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
	"cipp-ninjaone/sandbox/ninjasim"
)

const (
	instance     = "eu.ninjarmm.com"
	organization = 7
)

// world is a simulated NinjaOne with one organization, the storage, and the
// tenants that are mapped to the organization.
type world struct {
	*ninjasim.Server
	t         testing.TB
	syncer    *Syncer
	client    *ninjaone.Client
	account   *storage.Account
	table     *storage.Table
	wire      *wire
	storage   *azuritetest.Traffic
	now       time.Time
	tenants   []*model
	collected *problems.Collector // of the last run
	// othernames lets documents have the names that they get while another
	// document has theirs, or those that they had before.
	othernames bool
}

// model is a tenant as the tests change it.
type model struct {
	id, domain   string
	users        map[string]*person // by user id
	skus         map[string]string  // SKU id to part number
	devices      map[string]gadget  // by Intune id
	licensedOnly bool
	next         int
}

type person struct {
	name, title string
	account     string // part of the user name before the @; made up when empty
	skus        []string
}

type gadget struct {
	ninja int
	user  string // primary user's id
}

// wire carries the requests, and loses answers when it is told to.
type wire struct {
	mu   sync.Mutex
	base http.RoundTripper
	hold func(*http.Request)       // before the request is carried out; nil: nothing is held
	lose func(*http.Request) error // after the request was carried out; nil: nothing is lost
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	hold, lose := w.hold, w.lose
	w.mu.Unlock()
	if hold != nil {
		hold(r)
	}
	resp, err := w.base.RoundTrip(r)
	if err == nil && lose != nil {
		if lost := lose(r); lost != nil {
			_ = resp.Body.Close()
			return nil, lost
		}
	}
	return resp, err
}

func (w *wire) set(lose func(*http.Request) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = lose
}

// refuse makes NinjaOne refuse batches of documents that hold a text.
func (w *world) refuse(text string) (mend func()) {
	return w.InjectFault(ninjasim.Fault{Path: "organization/documents$", Holds: text, Status: http.StatusBadRequest, Body: `{"resultCode":"FAILURE","errorMessage":"not to its liking"}`})
}

var errLost = errors.New("the answer is lost")

// loseFirst loses the answers to the first n requests that match.
func (w *world) loseFirst(n int, method, path string) {
	w.InjectFault(ninjasim.Fault{Method: method, Path: path, Count: n, AfterHandling: true, Reset: true})
}

func newWorld(t testing.TB, tenants int) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	w.Server = ninjasim.New(ninjasim.Config{ClientID: "app", ClientSecret: "secret", Now: func() time.Time { return w.now }})
	must(t, w.Start())
	t.Cleanup(func() { must(t, w.Close()) })
	w.AddOrganization(ninjasim.Organization{ID: organization, Name: "Contoso"})
	w.AddOrganization(ninjasim.Organization{ID: organization + 1, Name: "Fabrikam"})
	w.wire = &wire{base: http.DefaultTransport.(*http.Transport).Clone()}
	connection, traffic := azuritetest.Watched(t)
	w.storage = traffic
	account := storagetest.Open(t, connection)
	w.account = account
	var err error
	calls := ninjaonetest.Deps(w.URL(), ninjaonetest.Secret("secret"))
	calls.Instance, calls.ClientID, calls.Transport = instance, "app", w.wire
	w.client, err = ninjaone.New(calls)
	must(t, err)
	w.table = account.Table(azuritetest.UniqueName(t))
	w.syncer = &Syncer{
		CIPP:   cipptest.Store(account),
		Ledger: ledger.New(w.table),
		Blobs:  account.Container(azuritetest.UniqueName(t)),
		Now:    func() time.Time { return w.now },
		Log:    slog.New(slog.DiscardHandler),
	}
	for i := range tenants {
		w.tenants = append(w.tenants, &model{
			id: uuid.NewString(), domain: fmt.Sprintf("tenant%d.example", i),
			users: map[string]*person{}, skus: map[string]string{}, devices: map[string]gadget{},
		})
	}
	return w
}

// dying runs a tenant's sync of which the process ends at the first call that dies
// picks, before NinjaOne does what it asks, or when that is done: nothing is noted
// of it, nor of anything after.
func (w *world) dying(m *model, done bool, dies func(*http.Request) bool) error {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var mu sync.Mutex
	dead := false
	at := func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(r.URL.Path, "/oauth/") && !dead && dies(r) {
			dead = true
			cancel()
		}
		return dead
	}
	if !done {
		w.wire.hold = func(r *http.Request) { at(r) }
	} else {
		w.wire.set(func(r *http.Request) error {
			if at(r) {
				return errLost
			}
			return nil
		})
	}
	w.endedWhen(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dead
	})
	_, err := w.run(ctx, m)
	w.wire.hold = nil
	w.wire.set(nil)
	w.endedWhen(nil)
	return err
}

// endedWhen lets nothing be written to the tables once the process has ended,
// which is asked before each write; nil for never.
func (w *world) endedWhen(ended func() bool) {
	if ended == nil {
		w.storage.Ended.Store(nil)
		return
	}
	w.storage.Ended.Store(&ended)
}

var must = fail.If

// join adds a user to a tenant.
func (m *model) join(name string, skus ...string) string {
	m.next++
	id := fmt.Sprintf("%08x-0000-4000-8000-%s", m.next, m.id[24:])
	m.users[id] = &person{name: name, skus: skus}
	return id
}

// buy adds a licence. The id depends on the part number alone, as SKU ids do.
func (m *model) buy(part string) string {
	id := uuid.NewSHA1(uuid.Nil, []byte(part)).String()
	m.skus[id] = part
	return id
}

// enrol adds a device that is matched with a new NinjaOne device.
func (w *world) enrol(m *model, user string) string {
	m.next++
	id := fmt.Sprintf("d%07x-0000-4000-8000-%s", m.next, m.id[24:])
	ninja := 100*(1+slices.Index(w.tenants, m)) + m.next
	w.AddDevice(ninjasim.Device{ID: ninja, OrganizationID: organization, SystemName: "PC-" + id[:8]})
	m.devices[id] = gadget{ninja, user}
	return id
}

func (m *model) upn(id string) string {
	if a := m.users[id].account; a != "" {
		return a + "@" + m.domain
	}
	return m.users[id].name + "-" + id[:8] + "@" + m.domain
}

// input is what a run composes from.
func (w *world) input(m *model) compose.Input {
	var users []tenant.User
	for _, id := range slices.Sorted(maps.Keys(m.users)) {
		p := m.users[id]
		u := tenant.User{ID: id, DisplayName: p.name, UserPrincipalName: m.upn(id), UserType: "Member", Enabled: true, JobTitle: p.title}
		for _, sku := range p.skus {
			u.Licenses = append(u.Licenses, tenant.License{SKUID: sku, Assigned: w.now.AddDate(0, -1, 0).Truncate(24 * 365 * time.Hour)})
		}
		users = append(users, u)
	}
	var skus []tenant.SKU
	for _, id := range slices.Sorted(maps.Keys(m.skus)) {
		skus = append(skus, tenant.SKU{ID: id, PartNumber: m.skus[id], Status: "Enabled", Units: tenant.Units{Enabled: 10}})
	}
	devices := make([]tenant.ManagedDevice, 0, len(m.devices))
	var matches match.Result
	for _, id := range slices.Sorted(maps.Keys(m.devices)) {
		devices = append(devices, tenant.ManagedDevice{ID: id, DeviceName: "PC-" + id[:8], UserID: m.devices[id].user, ComplianceState: tenant.StateCompliant})
		matches.Pairs = append(matches.Pairs, match.Pair{Intune: &devices[len(devices)-1], Ninja: &ninjaone.Device{ID: m.devices[id].ninja}})
	}
	return compose.Input{
		Snapshot: &tenant.Snapshot{
			Tenant: tenant.Ref{ID: m.id, DisplayName: m.domain, DefaultDomain: m.domain},
			Users:  tenant.Present(users), SKUs: tenant.Present(skus), ManagedDevices: tenant.Present(devices),
			Groups: tenant.Present([]tenant.Group{}), Roles: tenant.Present([]tenant.DirectoryRole{}),
		},
		Matches: matches, NinjaHost: instance, LicensedOnly: m.licensedOnly,
		SKUNames: maps.Clone(m.skus), // else the names of adopted documents would be kept
		Shared:   len(w.tenants) > 1, Today: w.now,
	}
}

// options change the input of a run.
type option func(*Input)

func forced(in *Input) {
	in.Force, in.ForceNoted = true, func(context.Context) error { return nil }
}
func usersOnly(in *Input)    { in.Licenses = false }
func licensesOnly(in *Input) { in.Users = false }

// run runs one tenant's sync.
func (w *world) run(ctx context.Context, m *model, options ...option) (Result, error) {
	return w.syncer.Sync(ctx, w.inputOf(m, options...))
}

// problems are those of the last run, by key.
func (w *world) problems() map[string]string {
	all := map[string]string{}
	for _, p := range w.collected.List() {
		all[p.Key] = p.Message
	}
	return all
}

// inputOf is the input of a run, which notes its problems.
func (w *world) inputOf(m *model, options ...option) Input {
	w.collected = &problems.Collector{}
	in := Input{
		Client: w.client, Instance: instance, OrganizationID: organization, Compose: w.input(m), Users: true, Licenses: true,
		Problems: w.collected, DeviceUnsure: func(int) bool { return false },
	}
	for _, other := range w.tenants {
		in.Sharing = append(in.Sharing, other.id)
	}
	for _, o := range options {
		o(&in)
	}
	return in
}

// sync runs one tenant's sync, which must succeed without a problem.
func (w *world) sync(m *model, options ...option) Result {
	w.t.Helper()
	result, err := w.run(w.t.Context(), m, options...)
	must(w.t, err)
	if len(w.problems()) > 0 {
		w.t.Fatalf("problems: %v", w.problems())
	}
	return result
}

// template returns the id of the template in use.
func (w *world) template(b blueprint) int {
	w.t.Helper()
	for _, t := range w.Templates() {
		if t.Name == b.name && !t.Archived {
			return t.ID
		}
	}
	w.t.Fatalf("there is no template %q", b.name)
	return 0
}

// live returns the documents of a tenant that people see, by user or SKU id.
func (w *world) live(m *model, b blueprint) map[string]ninjasim.Document {
	w.t.Helper()
	documents := map[string]ninjasim.Document{}
	for _, d := range w.Documents(organization) {
		if d.TemplateID != w.template(b) || d.Archived || d.Fields[compose.FieldTenantID] != m.id {
			continue
		}
		id := d.Fields[b.idField]
		if other, twice := documents[id]; twice {
			w.t.Errorf("%s is documented twice: %d and %d", id, other.ID, d.ID)
		}
		documents[id] = d
	}
	return documents
}

// relation is a relation without its id.
type relation struct{ host, related ninjaone.Entity }

// verify checks that NinjaOne shows exactly what the tenant is, as a fresh
// sync would leave it.
func (w *world) verify(m *model) {
	w.t.Helper()
	people := compose.NewUserDocuments(w.input(m), tenant.Absent[compose.MailboxAccess]("CIPP has no mailbox permissions of this tenant in its cache"))
	users, licenses := w.live(m, userBlueprint), w.live(m, licenseBlueprint)
	pages := compose.DocumentPages{OrganizationID: organization, TemplateID: w.template(userBlueprint), Documents: map[string]int{}}
	want := map[relation]int{}
	same := func(what string, d ninjasim.Document, doc compose.Document) {
		w.t.Helper()
		fields := map[string]string{}
		for name, v := range doc.Fields {
			fields[name] = v.String()
		}
		if diff := cmp.Diff(fields, d.Fields); diff != "" || d.Name != doc.Name && !w.othernames {
			w.t.Errorf("the %s document %d, %q, should be %q: %s", what, d.ID, d.Name, doc.Name, diff)
		}
	}
	check := func(what string, ids []string, have map[string]ninjasim.Document, document func(string) (compose.Document, error)) {
		w.t.Helper()
		for _, id := range ids {
			d, ok := have[id]
			if !ok {
				w.t.Errorf("the %s %s has no document", what, id)
				continue
			}
			doc, err := document(id)
			must(w.t, err)
			same(what, d, doc)
		}
		if len(have) != len(ids) {
			w.t.Errorf("%d %s documents for %d", len(have), what, len(ids))
		}
	}
	check("user", people.IDs(), users, people.Document)
	for id, d := range users {
		pages.Documents[id] = d.ID
		for _, n := range people.Devices(id) {
			want[relation{relations.Device(n), relations.Document(d.ID)}]++
		}
		for _, sku := range people.Licenses(id) {
			want[relation{relations.Document(licenses[sku].ID), relations.Document(d.ID)}]++
		}
	}
	list := compose.NewLicenseDocuments(w.input(m), pages)
	check("licence", list.IDs(), licenses, list.Document)
	got := map[relation]int{}
	shown := map[int]bool{}
	for _, d := range users {
		shown[d.ID] = true
	}
	for _, n := range w.Relations() {
		r := relation{ninjaone.Entity{Type: n.EntityType, ID: n.EntityID}, ninjaone.Entity{Type: n.RelatedType, ID: n.RelatedID}}
		if n.MadeByTechnician {
			// It stands for ours, and may stand beside it; own checks that it stays.
			for _, pair := range []relation{r, {r.related, r.host}} {
				if want[pair] == 1 && got[pair] == 0 {
					got[pair] = 1
				}
			}
		}
	}
	gone := map[int]bool{}
	for _, d := range w.Documents(organization) {
		gone[d.ID] = d.Archived && d.Fields[compose.FieldTenantID] == m.id
	}
	technicians := maps.Clone(got)
	for _, n := range w.Relations() {
		r := relation{ninjaone.Entity{Type: n.EntityType, ID: n.EntityID}, ninjaone.Entity{Type: n.RelatedType, ID: n.RelatedID}}
		if !n.MadeByTechnician && gone[n.RelatedID] {
			w.t.Errorf("the archived document %d is still related to %v", n.RelatedID, r.host)
		}
		if !n.MadeByTechnician && shown[n.RelatedID] {
			if technicians[r] > 0 {
				technicians[r]-- // ours was there first
				continue
			}
			got[r]++
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(relation{})); diff != "" {
		w.t.Errorf("relations: %s", diff)
	}
	if v := w.Violations(); len(v) > 0 {
		w.t.Errorf("requests broke the contract: %v", v)
	}
}

// verifyRelisted checks that a run a week later, which reads everything again,
// finds nothing to write.
func (w *world) verifyRelisted(m *model) {
	w.t.Helper()
	w.now = w.now.Add(relistAfter)
	w.ResetCounters()
	w.sync(m)
	w.verify(m)
	if len(w.DocumentWrites()) > 0 {
		w.t.Errorf("a week later, when everything was read, the run wrote %v", w.actions())
	}
}

// verifyMap checks CIPP's map of the tenant's users.
func (w *world) verifyMap(m *model) {
	w.t.Helper()
	got, err := w.syncer.CIPP.UserMap(w.t.Context(), m.id)
	must(w.t, err)
	for id, d := range w.live(m, userBlueprint) {
		if got[id] != d.ID {
			w.t.Errorf("NinjaOneUserMap has %d for %s, not %d", got[id], id, d.ID)
		}
	}
}

// actions counts what was written since the counters were reset.
func (w *world) actions() map[string]int {
	n := map[string]int{}
	for _, c := range w.DocumentWrites() {
		n[c.Action]++
	}
	return n
}
