package check

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/storage"
)

// TestHealthy: a healthy deployment has no findings, everything is looked at,
// nothing is left behind or changed, and few calls are made.
func TestHealthy(t *testing.T) {
	l := newLab(t)
	before := l.everything()
	l.M365.ResetCalls()
	r := l.check()
	if r.Problems+r.Notices > 0 || len(r.Sections) != len(sections) {
		t.Errorf("a healthy deployment has findings:\n%s", text(t, r))
	}
	for _, s := range r.Sections {
		if s.Skipped != "" || s.Checked == "" {
			t.Errorf("section %s was not looked at: %q", s.Name, s.Skipped)
		}
	}
	if diff := cmp.Diff(before, l.everything()); diff != "" {
		t.Errorf("the check left something behind (-before +after):\n%s", diff)
	}
	calls := 0
	for _, n := range l.NinjaOne.Calls() {
		calls += n
	}
	if calls > 4 {
		t.Errorf("%d calls to NinjaOne, want 4 at most: %v", calls, l.NinjaOne.Calls())
	}
	if got := l.M365.Calls(); got["login POST /{tenant}/oauth2/v2.0/token"] != 2*len(l.Seed.Tenants) {
		t.Errorf("the calls to Microsoft are %v, want two sign-ins per tenant", got)
	}
	if got := text(t, r); !strings.HasPrefix(got, "App settings: ok\n") || !strings.Contains(got, "No problems were found.") {
		t.Errorf("the text is\n%s", got)
	}
}

// TestLeavesNothingWhenRefused: a probe that fails midway cleans up too.
func TestLeavesNothingWhenRefused(t *testing.T) {
	l := newLab(t)
	before := l.everything()
	l.env[storage.Own] = l.signed("rwdlup", "tqb") // neither add rows nor create messages
	l.open()
	if r := l.check(); r.Problems == 0 {
		t.Error("the missing rights are not found")
	}
	if diff := cmp.Diff(before, l.everything()); diff != "" {
		t.Errorf("the check left something behind (-before +after):\n%s", diff)
	}
}

// everything is all that the emulator holds: tables with their rows, queues
// and containers.
func (l *lab) everything() []string {
	l.t.Helper()
	all := leftovers(l.t, l.Storage.ConnectionString())
	for _, name := range all {
		table, ok := strings.CutPrefix(name, "table ")
		if !ok {
			continue
		}
		for p := l.tables().NewClient(table).NewListEntitiesPager(&aztables.ListEntitiesOptions{}); p.More(); {
			page, err := p.NextPage(l.t.Context())
			must(l.t, err)
			for _, row := range page.Entities {
				all = append(all, table+" "+string(row))
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestNoSuchTenant(t *testing.T) {
	l := newLab(t)
	l.o.Tenant = "nobody.example"
	if _, err := l.run(); !errors.Is(err, ErrNoTenant) {
		t.Errorf("the error is %v", err)
	}
}

// TestPages: tenants are looked at page by page.
func TestPages(t *testing.T) {
	l := newLab(t)
	for _, tenant := range l.Seed.Tenants {
		tenant.Deny("Policy.Read.All")
	}
	var found []string
	for from := range 4 {
		l.o = Options{From: from, Tenants: 1}
		r := l.check()
		for _, s := range r.Sections {
			for _, f := range s.Findings {
				if s.Name == "tenants" && len(f.Tenants) == 1 {
					found = append(found, f.Tenants[0])
				}
			}
		}
	}
	if want := []string{l.Seed.Tenants[0].DefaultDomain, l.Seed.Tenants[1].DefaultDomain, l.Seed.Tenants[2].DefaultDomain}; !slices.Equal(found, want) {
		t.Errorf("the pages show %q, want %q", found, want)
	}
}

// TestSameFindingOfMany: what many tenants suffer from is said once.
func TestSameFindingOfMany(t *testing.T) {
	var s Section
	var want []string
	for range 2 {
		for _, d := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
			s.problem("What.", "Meaning.", "Action.", d)
			if len(want) < 12 {
				want = append(want, d)
			}
		}
	}
	if len(s.Findings) != 1 || !slices.Equal(s.Findings[0].Tenants, want) {
		t.Fatalf("the findings are %+v", s.Findings)
	}
	if got := s.Findings[0].NamedTenants(); got != "a, b, c, d, e, f, g, h, i, j and 2 others" {
		t.Errorf("they are named %q", got)
	}
}

// TestEveryPartIsWorded: each permission's part says what is lost without it.
func TestEveryPartIsWorded(t *testing.T) {
	parts := map[string]bool{}
	for _, p := range m365.Permissions() {
		parts[p.Part] = true
		if losses[p.Part] == "" {
			t.Errorf("nothing says what is lost without %s", p.Part)
		}
	}
	for part := range losses {
		if !parts[part] {
			t.Errorf("%s is no part", part)
		}
	}
}

// TestEveryTableIsWorded: each of CIPP's tables that is used says what is lost
// without it.
func TestEveryTableIsWorded(t *testing.T) {
	l := newLab(t)
	tables, err := l.store.Inspect(t.Context())
	must(t, err)
	for _, table := range tables {
		if m := meanings[table.Name]; m.unread == "" || table.Writes && m.unwritten == "" {
			t.Errorf("nothing says what is lost without the right on %s", table.Name)
		}
	}
	if len(tables) != len(meanings) {
		t.Errorf("%d tables are used, and %d have meanings", len(tables), len(meanings))
	}
}

// TestOutOfTime: what was not looked at in time is no clean bill.
func TestOutOfTime(t *testing.T) {
	l := newLab(t)
	l.ended = true
	r := l.check()
	if r.Problems == 0 {
		t.Errorf("a check without time finds nothing:\n%s", text(t, r))
	}
}

func TestJSON(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	r := &Report{Started: at, Ended: at.Add(time.Second), Problems: 1, Sections: []Section{{Name: "clock", Title: "Clock", Findings: []Finding{{Level: Problem, What: "a < b"}}}}}
	var b strings.Builder
	must(t, r.WriteJSON(&b))
	var back Report
	must(t, json.Unmarshal([]byte(b.String()), &back))
	if diff := cmp.Diff(*r, back); diff != "" {
		t.Errorf("the report comes back otherwise (-want +got):\n%s", diff)
	}
}
