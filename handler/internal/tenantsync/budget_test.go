package tenantsync

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/runs"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/ninjasim"
)

// ending is how the time of a run ends with a call to NinjaOne.
type ending string

const (
	ahead   ending = "the pacer refuses what comes later"
	before  ending = "the call is cut before NinjaOne has it"
	after   ending = "the answer is lost"
	waiting ending = "the others wait for their turn until the end"
)

// allowance carries the calls of a bench to NinjaOne, and ends the time of its
// runs with one of them.
type allowance struct {
	base http.RoundTripper
	pool *ninjaone.Pool
	mode ending

	under sync.WaitGroup // calls whose answers are not read yet

	mu    sync.Mutex
	most  int  // calls of a run, or writes alone; 0 for no end
	alone bool // only writes count
	spent int  // of these, in this run
	over  bool // the last one was made
	calls int  // of this run
	reads int  // among them
	wrote int  // calls of this run that wrote, or were refused, and were answered
	end   context.CancelFunc
}

// allow lets the bench call NinjaOne by way of an allowance.
func (b *bench) allow(mode ending) *allowance {
	a := &allowance{base: http.DefaultTransport.(*http.Transport).Clone(), mode: mode}
	calls := ninjaonetest.Deps(b.ninja.URL(), ninjaonetest.Secret("not-a-real-secret"))
	calls.Transport = a
	a.pool = ninjaone.NewPool(calls)
	var err error
	b.client, err = a.pool.Client(labInstance, "sync-app")
	must(b.t, err)
	b.Within = func(ctx context.Context) (context.Context, context.CancelFunc) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.calls, a.reads, a.wrote, a.spent, a.over = 0, 0, 0, 0, false
		a.pool.SetRate(math.Inf(1))
		bounded, stop := inAMinute(ctx)
		a.end = stop
		return bounded, stop
	}
	return a
}

// RoundTrip carries a call. With the last one of a run its time ends, once what is
// under way with it is answered.
func (a *allowance) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	reads := r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/token")
	a.calls++
	if !reads || !a.alone {
		a.spent++
	}
	end, late := a.end, a.over
	last := !late && a.most > 0 && a.spent == a.most
	a.over = a.over || last
	if !last && !late {
		a.under.Add(1)
	}
	switch lost := last && (a.mode == before || a.mode == after); {
	case reads:
		a.reads++
	case !lost && !late:
		a.wrote++
	}
	a.mu.Unlock()
	switch {
	case late && (a.mode == before || a.mode == after):
		<-r.Context().Done()
		return nil, r.Context().Err()
	case late:
		return a.base.RoundTrip(r)
	case !last:
		answer, err := a.base.RoundTrip(r)
		if err != nil {
			a.under.Done()
			return nil, err
		}
		answer.Body = &closing{answer.Body, sync.OnceFunc(a.under.Done)}
		return answer, nil
	case a.mode == ahead:
		a.pool.SetRate(1e-9)
		return a.base.RoundTrip(r)
	case a.mode == waiting:
		a.pool.SetRate(0)
		answer, err := a.base.RoundTrip(r)
		if err == nil {
			answer.Body = &closing{answer.Body, sync.OnceFunc(func() { a.under.Wait(); end() })}
		}
		return answer, err
	case a.mode == after:
		if answer, err := a.base.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
	}
	a.under.Wait()
	end()
	return nil, r.Context().Err()
}

// closing is a body that tells that it was closed.
type closing struct {
	io.ReadCloser
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

// whole is a bench with fields, documents and relations.
func newWhole(t *testing.T) *bench {
	b := newBench(t, 3)
	b.withDocuments(4)
	b.configure(`,"UserDocumentsEnabled":true,"LicenseDocumentsEnabled":true`)
	users := b.reader.snapshot
	b.reader.snapshot = func() (*tenant.Snapshot, error) {
		s, err := users()
		list := devices(3)
		for i := range s.Users.Value {
			u := &s.Users.Value[i]
			for _, sku := range []string{"05e9a617-0261-4cee-bb44-138d3ef5d965", "c5928f49-12ba-48f7-ada3-0d743a3601d5"}[i%2:] {
				u.Licenses = append(u.Licenses, tenant.License{SKUID: sku})
			}
			list[i%3].UserID = u.ID
		}
		s.ManagedDevices = tenant.Present(list)
		s.SKUs = tenant.Present([]tenant.SKU{
			{ID: "05e9a617-0261-4cee-bb44-138d3ef5d965", PartNumber: "SPE_E3", Status: "Enabled", Consumed: 2, Units: tenant.Units{Enabled: 5}},
			{ID: "c5928f49-12ba-48f7-ada3-0d743a3601d5", PartNumber: "VISIOCLIENT", Status: "Enabled", Consumed: 4, Units: tenant.Units{Enabled: 5}}})
		return s, err
	}
	return b
}

// shown is all that NinjaOne shows of the organization.
func (b *bench) shown() []string {
	var lines []string
	for _, t := range append([]ledger.Target{organization}, device(100), device(101), device(102)) {
		for _, f := range []string{"summary", "links", "details", "compliance"} {
			if (t.Kind == ledger.KindOrganization) == (f == "summary") {
				lines = append(lines, fmt.Sprintf("%s %s: %s", t, f, b.sent(t, f)))
			}
		}
	}
	names := map[int]string{}
	for _, d := range b.ninja.Documents(labOrganization) {
		names[d.ID] = d.Name
		lines = append(lines, fmt.Sprintf("document %s, archived %t: %v", d.Name, d.Archived, d.Fields))
	}
	for _, n := range b.ninja.Relations() {
		host := fmt.Sprint(n.EntityID)
		if n.EntityType == "DOCUMENT" {
			host = names[n.EntityID]
		}
		lines = append(lines, fmt.Sprintf("relation of %s to %s", host, names[n.RelatedID]))
	}
	slices.Sort(lines)
	return lines
}

// runs runs the tenant's sync until it has completed or can go no further, and
// returns how many runs it took.
func (b *bench) runs(t *testing.T, want []string) (n int, r runs.Run) {
	for n = 1; n < 60; n++ {
		b.sync(Message{Force: n == 1})
		r = b.last()
		left := cmp.Diff(want, b.shown())
		switch {
		case r.Status == runs.Completed && left != "":
			t.Errorf("run %d says Completed, and NinjaOne differs from one run without an end: %s", n, left)
			return n, r
		case r.Status != runs.Running || !r.Queued.After(r.Start) && !r.Queued.Equal(r.Start):
			return n, r
		}
	}
	t.Errorf("no end after %d runs: %+v", n, r)
	return n, r
}

// TestAnyBudget ends the runs of a tenant at every call to NinjaOne, in every way
// that time can end, whatever NinjaOne refuses. Where a run's reading fits and one
// write more, the runs go on until NinjaOne shows what one run without an end
// leaves, and only the last of them says Completed. With less time the run fails,
// and names the setting. What was lost with the end of a run is written again by
// the next one, or read first; so a run is as good as without a write if the
// answer to its only one is lost, however much it had to read because of others.
// Each day tries some refusals and some of the calls.
func TestAnyBudget(t *testing.T) {
	worlds := map[string]struct {
		refuse []ninjasim.Fault // what NinjaOne refuses of writes
		before bool             // everything was written before, and every user and device changed since
	}{
		"all is taken":             {},
		"a field is refused":       {refuse: []ninjasim.Fault{{Path: "custom-fields", Holds: `"details"`}}},
		"a document is refused":    {refuse: []ninjasim.Fault{{Path: "/documents", Holds: "user2@ostholm.example"}}},
		"a name is refused":        {refuse: []ninjasim.Fault{{Path: "/documents", Holds: `"documentName":"User 2 (user2@ostholm.example)"`}}},
		"ends are refused":         {refuse: []ninjasim.Fault{{Method: http.MethodDelete, Path: "related-items/"}}, before: true},
		"relations are refused":    {refuse: []ninjasim.Fault{{Method: http.MethodPost, Path: "related-items/entity/NODE/101"}}},
		"a change is refused":      {refuse: []ninjasim.Fault{{Path: "/documents", Holds: "user2@ostholm.example"}}, before: true},
		"many of them are refused": {refuse: []ninjasim.Fault{{Path: "custom-fields", Holds: `"links"`}, {Path: "/documents", Holds: "user1@ostholm.example"}, {Path: "/documents", Holds: "user3@ostholm.example"}}},
	}
	for _, name := range draw.Of(t, 3, slices.Sorted(maps.Keys(worlds))) {
		world := worlds[name]
		t.Run(name, func(t *testing.T) {
			prepared := func(mode ending) (*bench, *allowance) {
				b := newWhole(t)
				if world.before {
					b.sync(Message{})
					users := b.reader.snapshot
					b.reader.snapshot = func() (*tenant.Snapshot, error) {
						s, err := users()
						for i := range s.Users.Value {
							s.Users.Value[i].UserPrincipalName = "x" + s.Users.Value[i].UserPrincipalName
						}
						for i := range s.ManagedDevices.Value {
							s.ManagedDevices.Value[i].UserID = s.Users.Value[i+1].ID
						}
						return s, err
					}
				}
				for _, f := range world.refuse {
					f.Status, f.Body = http.StatusBadRequest, `{"errorMessage":{"code":"invalid_value","params":{}}}`
					b.ninja.InjectFault(f)
				}
				return b, b.allow(mode)
			}
			b, a := prepared(ahead)
			b.sync(Message{Force: true})
			whole := b.last()
			if whole.Status != runs.Completed || (len(whole.Problems) == 0) != (len(world.refuse) == 0) {
				t.Fatalf("without an end: %+v", whole)
			}
			want, reads, all := b.shown(), a.reads, a.calls
			try := func(t *testing.T, mode ending, most int, alone bool) {
				b, a := prepared(mode)
				a.most, a.alone = most, alone
				n, r := b.runs(t, want)
				switch {
				case r.Status == runs.Failed && !strings.Contains(r.Reason, "SYNC_TIME_BUDGET"):
					t.Errorf("the reason does not name the setting: %s", r.Reason)
				case r.Status == runs.Failed && (a.wrote > 0 || mode == after && !alone && most > a.reads+1):
					t.Errorf("the run %d, of which %d calls read and %d write, fails: %s", n, a.reads, a.wrote, r.Reason)
				case r.Status == runs.Completed:
					if diff := cmp.Diff(told(whole), told(r)); diff != "" {
						t.Errorf("the last of %d runs tells other problems than one run without an end: %s", n, diff)
					}
					a.most = 0
					b.ninja.ResetCounters()
					b.sync(Message{})
					if w := len(b.ninja.Writes()) + len(b.ninja.DocumentWrites()); w > 0 {
						t.Errorf("an unchanged run wrote %d times", w)
					}
				}
			}
			least := map[ending]int{ahead: 1, waiting: 1, before: 2, after: 2}
			for _, mode := range draw.Of(t, 2, slices.Sorted(maps.Keys(least))) {
				fewest := least[mode]
				t.Run(fmt.Sprintf("%s, %d writes", mode, fewest), func(t *testing.T) { try(t, mode, fewest, true) })
			}
			if len(world.refuse) > 0 {
				return
			}
			first, step := draw.Every(t, 4)
			for mode, apart := range map[ending]int{ahead: 1, waiting: 3, before: 2, after: 2} {
				for calls := reads - 2 + first*apart; calls <= all+1; calls += step * apart {
					t.Run(fmt.Sprintf("%s, %d calls", mode, calls), func(t *testing.T) { try(t, mode, calls, false) })
				}
			}
		})
	}
}

// told are the kinds of problems that a run tells.
func told(r runs.Run) (keys []string) {
	for _, p := range r.Problems {
		keys = append(keys, p.Key)
	}
	slices.Sort(keys)
	return keys
}

// TestThrottledInTheMiddle turns a tenant's runs away in the middle of documents
// and of relations: each goes on by itself, the one that related documents and
// did nothing else included.
func TestThrottledInTheMiddle(t *testing.T) {
	b := newWhole(t)
	for i, fault := range []ninjasim.Fault{
		{Method: http.MethodPatch, Path: "custom-fields$", Skip: 2},
		{Method: http.MethodPost, Path: "^/v2/organization/documents$", Skip: 1},
		{Method: http.MethodPost, Path: "related-items", Skip: 2},
		{Method: http.MethodPost, Path: "related-items", Skip: 1},
	} {
		b.allow(ahead) // a client that knows of no pause
		fault.Status, fault.Header = http.StatusTooManyRequests, http.Header{"Retry-After": {"600"}}
		remove := b.ninja.InjectFault(fault)
		lines := b.sync(Message{})
		remove()
		if r := b.last(); r.Status != runs.Running || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Info: Not finished after 0 minutes: ") }) {
			t.Errorf("run %d: %s %s, and the logbook says %q", i+1, r.Status, r.Reason, lines)
		}
	}
	b.allow(ahead)
	b.sync(Message{})
	if r := b.last(); r.Status != runs.Completed || r.OrganizationFields+r.Devices+r.Documents != 0 || len(b.ninja.Relations()) == 0 {
		t.Errorf("the last run: %+v", r)
	}
}
