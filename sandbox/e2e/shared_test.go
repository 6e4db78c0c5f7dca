package e2e

import (
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// TestSharedOrganization runs two tenants of one organization, in both orders.
func TestSharedOrganization(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][2]string{
		"in order":         {seed.SharedFirst, seed.SharedSecond},
		"the other way on": {seed.SharedSecond, seed.SharedFirst},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := seed.MSP()
			w := start(t, data)
			w.sync(order[0]).completed().quiet()
			w.sync(order[1]).completed().quiet()
			both := func(t *testing.T) {
				t.Helper()
				for _, field := range []string{"TenantLinks", "TenantSummary", "UsersSummary"} {
					text := w.organizationText(order[0], field)
					for _, tenant := range order {
						if !strings.Contains(text, w.tenant(tenant).DisplayName) {
							t.Errorf("%s does not name %s: %.300s", field, tenant, text)
						}
					}
				}
				for _, tenant := range order {
					w.tenant(tenant).View(func(tn *m365sim.Tenant) {
						for _, u := range tn.Users {
							if !strings.Contains(w.organizationText(tenant, "UsersSummary"), u.String("userPrincipalName")) {
								t.Errorf("a user of %s is not listed", tenant)
							}
						}
					})
				}
				w.correct(order[0], order[1])
			}
			both(t)
			for _, tenant := range []string{order[0], order[1], order[1], order[0], order[0]} {
				w.sync(tenant).completed().wroteNothing().quiet()
			}

			// One tenant changes: its part changes, once.
			w.tenant(order[0]).Change(func(tn *m365sim.Tenant) { tn.Users[3]["displayName"] = "Renamed Person" })
			if got := w.sync(order[1]).completed().wroteNothing(); len(got.lines) != 1 {
				t.Errorf("the other tenant's run: %q", got.lines)
			}
			if got := w.sync(order[0]).completed().organization(); len(got) != 1 || got[0] != "cippUsersSummary" {
				t.Errorf("the tenant's own run wrote %q", got)
			}
			both(t)
			w.sync(order[1]).completed().wroteNothing()

			// One tenant cannot be read: its part stays.
			w.tenant(order[1]).SetLogin(m365sim.ConsentMissing)
			w.M365.RevokeTokens()
			w.sync(order[1]).failed("AADSTS65001").wroteNothing()
			w.sync(order[0]).completed().wroteNothing()
			both(t)
			w.tenant(order[1]).SetLogin(m365sim.LoginOK)
			w.sync(order[1]).completed().wroteNothing()

			// One tenant is unmapped: its part goes with the other's next run, its
			// devices stay as they are.
			row := w.mapping(w.tenant(order[1]).ID)
			w.remove("CippMapping", row["PartitionKey"].(string), row["RowKey"].(string))
			o := w.sync(order[0]).completed().quiet()
			if len(o.organization()) != 3 || len(o.devices()) != 0 {
				t.Errorf("after the other tenant was unmapped: wrote %q and %v", o.organization(), o.devices())
			}
			if text := w.organizationText(order[0], "TenantSummary"); strings.Contains(text, w.tenant(order[1]).DisplayName) {
				t.Errorf("the unmapped tenant is still shown: %.300s", text)
			}
			w.sync(order[0]).completed().wroteNothing().quiet()
		})
	}
}
