package tenantsync

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// fieldsOfKind are the lab's fields by kind of target.
var fieldsOfKind = map[ledger.Kind][]string{ledger.KindOrganization: {"summary"}, ledger.KindDevice: {"links", "details", "compliance"}}

// value makes a value of the field; "" clears it.
func value(field, text string) ninjaone.Value {
	switch {
	case text == "":
		return ninjaone.Clear()
	case field == "compliance":
		return ninjaone.Text(text)
	}
	return ninjaone.HTML("<p>" + text + "</p>")
}

// plain is the text of a value made by value, from what NinjaOne was sent.
func plain(sent string) string {
	return strings.TrimSuffix(strings.TrimPrefix(sent, "<p>"), "</p>")
}

// TestStateIsTrue writes at random and lets writes fail in every way, and holds
// the notes against what NinjaOne has: a digest is there only for the value that
// NinjaOne holds, and a run that meets no trouble leaves exactly what is wanted.
func TestStateIsTrue(t *testing.T) {
	l := newLab(t, 4)
	rng := rand.New(rand.NewPCG(3, 14))
	targets := []ledger.Target{organization, device(100), device(101), device(102)}
	// Wanted clear at every step, and never ours.
	l.ninja.SetDeviceField(103, "details", "<p>by hand</p>")
	attempted := map[ledger.Target]map[string]bool{} // where a value of ours may be
	for _, tg := range targets {
		attempted[tg] = map[string]bool{}
	}
	refusal := ninjasim.Fault{Method: "PATCH", Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`}

	for step := range 60 {
		desired := wanted{device(103): {"details": ninjaone.Clear()}}
		for _, tg := range targets {
			if rng.IntN(6) == 0 {
				continue
			}
			desired[tg] = ninjaone.Fields{}
			for _, f := range fieldsOfKind[tg.Kind] {
				desired[tg][f] = value(f, []string{"a", "b", "c", ""}[rng.IntN(4)])
			}
		}
		trouble := []string{"none", "none", "refused", "lost", "read only", "killed"}[rng.IntN(6)]
		victim := targets[rng.IntN(len(targets))]
		path := fmt.Sprintf("^/v2/device/%d/custom-fields$", victim.ID)
		if victim.Kind == ledger.KindOrganization {
			path = "^/v2/organization/7/custom-fields$"
		}
		name := fmt.Sprintf("step %d (%s on %s)", step, trouble, victim)
		switch trouble {
		case "refused", "lost":
			fault := refusal
			fault.Path, fault.AfterHandling = path, trouble == "lost"
			l.ninja.InjectFault(fault)
		case "read only":
			l.define(ninjasim.CustomField{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}}, "READ_ONLY")
		}
		for tg, fields := range desired {
			for f, v := range fields {
				if !v.IsClear() {
					attempted[tg][f] = true
				}
			}
		}
		if trouble == "killed" {
			// The targets are marked, one is sent its values, and nothing is settled.
			w := l.writing(desired)
			sends, _, err := w.mark(t.Context())
			must(t, err)
			for _, s := range sends {
				if s.Record.Target == victim && len(s.Values) > 0 {
					must(t, w.update(t.Context(), s))
				}
			}
		} else if _, err := l.write(desired); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l.ninja.ClearFaults()
		l.define(ninjasim.CustomField{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}}, "READ_WRITE")

		for tg, r := range l.records() {
			for f, noted := range r.Fields {
				have := l.sent(tg, f)
				switch {
				case noted == ledger.Unknown || noted == "":
				case noted == ledger.Cleared && have != "":
					t.Fatalf("%s: %s of %s is noted as cleared and holds %q", name, f, tg, have)
				case noted != ledger.Cleared && noted != ledger.Digest(value(f, plain(have))):
					t.Fatalf("%s: the digest of %s of %s is not that of %q, which NinjaOne holds", name, f, tg, have)
				}
			}
		}
		if got := l.sent(device(103), "details"); got != "<p>by hand</p>" {
			t.Fatalf("%s: a value that was never ours became %q", name, got)
		}
		if trouble != "none" {
			continue
		}
		for tg, fields := range desired {
			for f, v := range fields {
				have := value(f, plain(l.sent(tg, f)))
				if v.IsClear() && !attempted[tg][f] {
					continue
				}
				if have != v {
					t.Fatalf("%s: %s of %s is %v, want %v", name, f, tg, have, v)
				}
				if v.IsClear() {
					attempted[tg][f] = false
				}
			}
		}
		writes := len(l.ninja.Writes())
		l.wrote(desired)
		if n := len(l.ninja.Writes()) - writes; n != 0 {
			t.Fatalf("%s: the same again made %d writes", name, n)
		}
	}
}

// TestHopeless ends a run whose writes all fail, and not one in which fields
// are refused or some writes succeed.
func TestHopeless(t *testing.T) {
	down := ninjasim.Fault{Method: "PATCH", Status: http.StatusInternalServerError, Body: `{"resultCode":"FAILURE"}`}
	some := down
	some.Path = "^/v2/device/1.[13579]/custom-fields$"
	tests := map[string]struct {
		fault    ninjasim.Fault
		readOnly bool
		failed   bool
		problems int
	}{
		"every write fails":          {fault: down, failed: true},
		"most writes fail":           {fault: some, problems: 1},
		"every write is refused":     {readOnly: true, problems: 1},
		"credentials do not count":   {fault: ninjasim.Fault{Method: "PATCH", Status: http.StatusUnauthorized, Body: `{"error":"not_authenticated"}`}, failed: true},
		"throttled for a long while": {fault: ninjasim.Fault{Method: "PATCH", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7200"}}}, failed: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 32)
			desired := wanted{}
			for i := range 32 {
				desired[device(100+i)] = ninjaone.Fields{"links": value("links", "a")}
			}
			if tt.readOnly {
				l.define(ninjasim.CustomField{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}}, "READ_ONLY")
			} else {
				l.ninja.InjectFault(tt.fault)
			}
			j, err := l.write(desired)
			if (err != nil) != tt.failed {
				t.Fatalf("error = %v, want one: %v", err, tt.failed)
			}
			if got := len(j.problems.List()); got != tt.problems && !tt.failed {
				t.Errorf("problems %v, want %d", j.problems.List(), tt.problems)
			}
			n, unknown := l.ninja.Calls()["PATCH /v2/device/{id}/custom-fields"], 0
			if tt.failed && n > 24 {
				t.Errorf("%d calls before the run gave up", n)
			}
			for tg, r := range l.records() {
				noted := r.Fields["links"]
				if noted != "" && noted != ledger.Unknown && l.sent(tg, "links") == "" {
					t.Errorf("%s is noted as %q, and NinjaOne holds nothing", tg, noted)
				}
				if noted == ledger.Unknown {
					unknown++
				}
			}
			if unknown > n {
				t.Errorf("after %d calls %d devices are noted as unknown, as if something had been sent to all", n, unknown)
			}
			// Nothing is lost: the next run writes what is missing.
			l.ninja.ClearFaults()
			l.define(ninjasim.CustomField{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}}, "READ_WRITE")
			if name == "throttled for a long while" {
				return // the client keeps the pause that NinjaOne asked for
			}
			l.wrote(desired)
			for tg := range desired {
				if l.sent(tg, "links") != "<p>a</p>" {
					t.Errorf("%s holds %q", tg, l.sent(tg, "links"))
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	refused := &ninjaone.RefusedError{Refused: map[string]error{"details": fmt.Errorf("not writable")}}
	of := func(id int, names ...string) *ledger.Send {
		values := ninjaone.Fields{}
		for _, n := range names {
			values[n] = value(n, "a")
		}
		return ledger.NewSend(&ledger.Record{Target: device(id), Fields: map[string]string{}}, values)
	}
	sent := func(r refusals, s *ledger.Send) []string {
		r.hold(s)
		return slices.Sorted(maps.Keys(s.Values))
	}
	all := []string{"details", "links"}

	r := refusals{}
	for i := range stubborn {
		if got := sent(r, of(i, all...)); !slices.Equal(got, all) {
			t.Errorf("after %d refusals %q are sent, want %q", i, got, all)
		}
		r.note(of(i, all...), refused)
	}
	if got := sent(r, of(9, all...)); !slices.Equal(got, []string{"links"}) {
		t.Errorf("after %d refusals %q are sent, want only links", stubborn, got)
	}
	organizationOf := of(9, all...)
	organizationOf.Record.Target = organization
	if got := sent(r, organizationOf); !slices.Equal(got, all) {
		t.Errorf("of the organization %q are sent; what devices refuse is not about it", got)
	}

	// A field that was accepted once is never given up.
	r = refusals{}
	accepted := of(1, all...)
	for _, name := range all {
		accepted.Accept(name, time.Now())
	}
	r.note(accepted, nil)
	for i := range 2 * stubborn {
		r.note(of(i, all...), refused)
	}
	if got := sent(r, of(9, all...)); !slices.Equal(got, all) {
		t.Errorf("%q are sent, want %q", got, all)
	}
	// A failure that says nothing about the fields counts for nothing.
	r = refusals{}
	for i := range 2 * stubborn {
		r.note(of(i, all...), fmt.Errorf("connection reset"))
	}
	if len(r) != 0 {
		t.Errorf("noted %v", r)
	}
}
