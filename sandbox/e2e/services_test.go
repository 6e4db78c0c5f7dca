package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// path matches a path of Graph or NinjaOne to its end.
func path(expression string) *regexp.Regexp { return regexp.MustCompile("^" + expression + "$") }

// TestMicrosoftUnreadable lets parts of a tenant, or all of it, be unreadable
// for one run. What cannot be read says why; all else stays as it is.
func TestMicrosoftUnreadable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault m365sim.Fault
		line  string   // of the logbook
		says  string   // in the field
		in    string   // CIPP's field that shows the part
		also  []string // what must still be there, in TenantSummary
	}{
		{"half a page of users", m365sim.Fault{Service: "graph", Path: path("/v1.0/users"), Malformed: true},
			"Warn: Not read: users, because Microsoft Graph gave an answer that cannot be used.",
			"Not available: Microsoft Graph gave an answer that cannot be used", "UsersSummary",
			[]string{"Microsoft 365 E3", "Secure score", "12"}},
		{"Exchange is down", m365sim.Fault{Service: "exchange", Status: 503, RetryAfter: "0"},
			"Warn: Not read: mailboxes, mailbox protocols, the unified audit log's state, blocked senders, because Exchange Online was not able to answer; it is read again with the next sync.",
			"Exchange Online was not able to answer", "TenantSummary", []string{"Microsoft 365 E3", "Secure score"}},
		{"usage reports cut in the middle", m365sim.Fault{Service: "download", Truncate: true},
			"Warn: Not read: mailbox usage, OneDrive usage, because Microsoft Graph gave an answer that cannot be used.",
			"Microsoft Graph gave an answer that cannot be used", "UsersSummary", []string{"Microsoft 365 E3", "Secure score"}},
	}
	data := generated(len(tests))
	w := start(t, data)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tn := data.Tenants[i]
			w.sync(tn.DefaultDomain).completed()
			before := w.organizationText(tn.DefaultDomain, tt.in)
			if tt.fault.Service != "download" { // whose addresses are all that names a tenant
				tt.fault.Tenant = tn.ID
			}
			w.M365.AddFault(tt.fault)
			o := w.sync(tn.DefaultDomain).completed().line(tt.line)
			w.M365.ClearFaults()
			if len(o.lines) != 2 {
				t.Errorf("the logbook got\n%s", strings.Join(o.lines, "\n"))
			}
			text := w.organizationText(tn.DefaultDomain, tt.in)
			if !strings.Contains(text, tt.says) {
				t.Errorf("%s does not say %q: %.400s", tt.in, tt.says, text)
			}
			for _, want := range tt.also {
				if got := w.organizationText(tn.DefaultDomain, "TenantSummary"); !strings.Contains(got, want) {
					t.Errorf("TenantSummary lacks %q, which was read: %.400s", want, got)
				}
			}
			if len(o.devices()) != 0 {
				t.Errorf("%d devices were written, and nothing of theirs changed", len(o.devices()))
			}
			if strings.Contains(tt.line, "Not read: users") {
				tn.View(func(tn *m365sim.Tenant) {
					for _, u := range tn.Users {
						if strings.Contains(text, u.String("userPrincipalName")) {
							t.Errorf("UsersSummary shows a part of the users")
							break
						}
					}
				})
			}
			// A lasting problem is told once a day.
			w.M365.AddFault(tt.fault)
			w.sync(tn.DefaultDomain).completed().wroteNothing().quiet()
			w.M365.ClearFaults()

			w.sync(tn.DefaultDomain).completed().line("Info: No longer a problem: " + strings.TrimPrefix(tt.line, "Warn: "))
			if got := w.organizationText(tn.DefaultDomain, tt.in); got != before {
				t.Errorf("%s is not as before: %.400s", tt.in, got)
			}
			w.sync(tn.DefaultDomain).completed().wroteNothing().quiet()
		})
	}
}

// TestOutOfTime gives runs less time than a service that hangs: what was not read
// in half of the time is told, and the rest is written.
func TestOutOfTime(t *testing.T) {
	t.Parallel()
	data := generated(2)
	w := start(t, data, setting("SYNC_TIME_BUDGET", "12s"))
	tn := data.Tenants[0]
	w.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed$", Hang: true})
	o := w.sync(tn.DefaultDomain).completed().line("Warn: NinjaOne's list of the devices of organization 100 came to no end", "it took longer than half of the sync's time, which SYNC_TIME_BUDGET sets")
	if len(o.devices()) != 0 || len(o.organization()) != 3 {
		t.Errorf("%d devices and %q were written", len(o.devices()), o.organization())
	}
	w.NinjaOne.ClearFaults()

	tn = data.Tenants[1]
	w.M365.AddFault(m365sim.Fault{Service: "graph", Path: path("/v1.0/users"), Tenant: tn.ID, Delay: time.Hour})
	o = w.sync(tn.DefaultDomain).completed().line("Warn: Not read: users, because reading the tenant took longer than half")
	if len(o.devices()) != 12 || len(o.organization()) != 3 {
		t.Errorf("%d devices and %q were written", len(o.devices()), o.organization())
	}
	w.M365.ClearFaults()

	// A run that got somewhere goes on by itself, and then has all the time.
	tn = data.Tenants[0]
	w.NinjaOne.InjectFault(ninjasim.Fault{Method: "PATCH", Skip: 5, Count: 8, Hang: true})
	o = w.observe(tn.DefaultDomain, func() funchost.Invocation {
		text := fmt.Sprintf(`{"tenantId":%q,"force":true}`, tn.ID)
		first := w.send(syncQueue, text)
		w.options = nil
		w.restart()
		w.await("the run that goes on", func() bool {
			last := w.done[len(w.done)-1]
			return last.Function == "SyncTenant" && last.Message != text
		})
		return first
	})
	o.completed().line("Info: Not finished after 0 minutes: wrote ").line("Info: Synced to NinjaOne organization 100")
	if n := len(o.devices()); n != 12 || len(o.organization()) != 3 {
		t.Errorf("%d devices and %q were written by both parts together, want all", n, o.organization())
	}
	w.correct(tn.DefaultDomain)
	w.sync(tn.DefaultDomain).completed().wroteNothing()
}
