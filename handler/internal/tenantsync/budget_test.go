package tenantsync

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
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

	mu    sync.Mutex
	most  int // calls of a run; 0 for no end
	calls int // of this run
	reads int // among them
	end   context.CancelFunc
}

// allow lets the bench call NinjaOne by way of an allowance.
func (b *bench) allow(mode ending) *allowance {
	a := &allowance{base: http.DefaultTransport.(*http.Transport).Clone(), mode: mode}
	a.pool = ninjaone.NewPool(ninjaone.Config{Endpoint: b.ninja.URL(), Rate: math.Inf(1), Transport: a,
		Secret: func(context.Context, bool) (string, error) { return "not-a-real-secret", nil },
		Logger: slog.New(slog.DiscardHandler)})
	var err error
	b.client, err = a.pool.Client(labInstance, "sync-app")
	must(b.t, err)
	b.within = func(ctx context.Context) (context.Context, context.CancelFunc) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.calls, a.reads = 0, 0
		a.pool.SetRate(math.Inf(1))
		bounded, stop := context.WithTimeout(ctx, b.Budget)
		a.end = stop
		return bounded, stop
	}
	return a
}

func (a *allowance) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.calls++
	if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/token") {
		a.reads++
	}
	last := a.calls == a.most
	end := a.end
	a.mu.Unlock()
	switch {
	case last && a.mode == ahead:
		a.pool.SetRate(1e-9)
	case last && a.mode == before:
		end()
		return nil, r.Context().Err()
	case last && a.mode == waiting:
		a.pool.SetRate(0)
		defer end()
	}
	answer, err := a.base.RoundTrip(r)
	if last && a.mode == after {
		end()
	}
	return answer, err
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
			{ID: "05e9a617-0261-4cee-bb44-138d3ef5d965", PartNumber: "SPE_E3", Status: "Enabled", Enabled: 5, Consumed: 2},
			{ID: "c5928f49-12ba-48f7-ada3-0d743a3601d5", PartNumber: "VISIOCLIENT", Status: "Enabled", Enabled: 5, Consumed: 4}})
		return s, err
	}
	return b
}

// shown is all that NinjaOne shows of the organization.
func (b *bench) shown() []string {
	var lines []string
	for _, t := range append([]target{organization}, device(100), device(101), device(102)) {
		for _, f := range []string{"summary", "links", "details", "compliance"} {
			if (t.kind == kindOrganization) == (f == "summary") {
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
func (b *bench) runs(t *testing.T, want []string) (n int, r Run) {
	for n = 1; n < 60; n++ {
		b.sync(Message{Force: n == 1})
		r = b.last()
		left := cmp.Diff(want, b.shown())
		switch {
		case r.Status == Completed && left != "":
			t.Errorf("run %d says Completed, and NinjaOne differs from one run without an end: %s", n, left)
			return n, r
		case r.Status != Running || !r.Queued.After(r.Start) && !r.Queued.Equal(r.Start):
			return n, r
		}
	}
	t.Errorf("no end after %d runs: %+v", n, r)
	return n, r
}

// TestAnyBudget ends the runs of a tenant at every call to NinjaOne, in every way
// that time can end. Where reading fits and one write more, the runs go on until
// NinjaOne shows what one run without an end leaves, and only the last of them
// says Completed. With less time the run fails, and names the setting.
func TestAnyBudget(t *testing.T) {
	b := newWhole(t)
	a := b.allow(ahead)
	b.sync(Message{Force: true})
	if r := b.last(); r.Status != Completed || len(r.Problems) > 0 {
		t.Fatalf("without an end: %+v", r)
	}
	want, reads, calls := b.shown(), a.reads, a.calls
	for mode, tt := range map[ending]struct {
		more int // calls that a write takes at most, with the reading of what is not known because of others
		step int
	}{ahead: {1, 1}, waiting: {1, 3}, before: {8, 2}, after: {8, 2}} {
		for most := reads - 2; most <= calls+1; most += tt.step {
			t.Run(fmt.Sprintf("%s, %d calls", mode, most), func(t *testing.T) {
				b := newWhole(t)
				a := b.allow(mode)
				a.most = most
				n, r := b.runs(t, want)
				switch {
				case r.Status == Failed && !strings.Contains(r.Reason, "SYNC_TIME_BUDGET"):
					t.Errorf("the reason does not name the setting: %s", r.Reason)
				case r.Status == Failed && most >= reads+tt.more:
					t.Errorf("reading takes %d calls, and with %d the run %d fails: %s", reads, most, n, r.Reason)
				case r.Status == Completed:
					a.most = 0
					b.ninja.ResetCounters()
					b.sync(Message{})
					if w := len(b.ninja.Writes()) + len(b.ninja.DocumentWrites()); w > 0 {
						t.Errorf("an unchanged run wrote %d times", w)
					}
				}
			})
		}
	}
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
		if r := b.last(); r.Status != Running || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Info: Not finished after 0 minutes: ") }) {
			t.Errorf("run %d: %s %s, and the logbook says %q", i+1, r.Status, r.Reason, lines)
		}
	}
	b.allow(ahead)
	b.sync(Message{})
	if r := b.last(); r.Status != Completed || r.OrganizationFields+r.Devices+r.Documents != 0 || len(b.ninja.Relations()) == 0 {
		t.Errorf("the last run: %+v", r)
	}
}
