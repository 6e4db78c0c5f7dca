package seed

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

var testDay = time.Date(2031, 5, 14, 0, 0, 0, 0, time.UTC)

// sources are the seeds that every rule must hold for.
func sources() map[string]*Seed {
	return map[string]*Seed{
		"MSP":       MSPAt(testDay),
		"Generated": Generate(Size{Tenants: 2, Users: 120, Devices: 90, Groups: 20, Day: testDay}),
		"Tiny":      Generate(Size{Tenants: 1, Users: 2, Devices: 1, Groups: 1, Day: testDay}),
	}
}

// TestServable checks that the simulator takes the tenants: properties known,
// ids unique, members there.
func TestServable(t *testing.T) {
	for name, s := range sources() {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Server(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestJoins checks that every id that one part of the data names exists in the
// part it points to.
func TestJoins(t *testing.T) {
	for name, s := range sources() {
		t.Run(name, func(t *testing.T) {
			organizations := map[int]bool{}
			for _, o := range s.Organizations {
				if organizations[o.ID] {
					t.Errorf("organization %d is there twice", o.ID)
				}
				organizations[o.ID] = true
			}
			devices := map[int]bool{}
			for _, d := range s.NinjaDevices {
				if devices[d.ID] || !organizations[d.OrganizationID] {
					t.Errorf("device %d is there twice or in no organization (%d)", d.ID, d.OrganizationID)
				}
				devices[d.ID] = true
			}
			tenants := map[string]bool{}
			for _, ten := range s.Tenants {
				tenants[ten.ID] = true
			}
			for _, m := range s.Mappings {
				if !tenants[m.TenantID] || !organizations[m.OrganizationID] && m.OrganizationID != DeletedOrgID {
					t.Errorf("mapping of %s to %d leads nowhere", m.TenantID, m.OrganizationID)
				}
			}
			for _, id := range s.ExcludedTenants {
				if !tenants[id] {
					t.Errorf("excluded tenant %s does not exist", id)
				}
			}
			fields := map[string]bool{}
			for _, f := range s.CustomFields {
				fields[f.Name] = true
			}
			if len(s.FieldMapping) != 7 {
				t.Errorf("%d fields are mapped, want 7", len(s.FieldMapping))
			}
			for field, custom := range s.FieldMapping {
				if !fields[custom] {
					t.Errorf("field %s is mapped to %s, which does not exist", field, custom)
				}
			}
			for _, ten := range s.Tenants {
				tenantJoins(t, ten)
			}
		})
	}
}

func tenantJoins(t *testing.T, ten *m365sim.Tenant) {
	t.Helper()
	has := func(what string, list []m365sim.Entity, property, id string) {
		t.Helper()
		if !slices.ContainsFunc(list, func(e m365sim.Entity) bool { return e.String(property) == id }) {
			t.Errorf("%s: %s %s does not exist", ten.DefaultDomain, what, id)
		}
	}
	for _, u := range ten.Users {
		list, _ := u["assignedLicenses"].([]m365sim.Entity)
		for _, l := range list {
			has("licence", ten.SKUs, "skuId", l.String("skuId"))
		}
	}
	for _, s := range ten.SKUs {
		for _, id := range s["subscriptionIds"].([]string) {
			has("subscription", ten.Subscriptions, "id", id)
		}
	}
	for _, d := range ten.ManagedDevices {
		if id := d.String("userId"); id != "" {
			has("device user", ten.Users, "id", id)
		}
		if id := d.String("azureADDeviceId"); !strings.HasPrefix(id, "00000000-") {
			has("Entra device", ten.Devices, "deviceId", id)
		}
		if ten.PolicyStates[d.ID()] == nil {
			t.Errorf("%s: device %s has no policy state", ten.DefaultDomain, d.ID())
		}
	}
	for _, p := range ten.ConditionalAccess {
		users := p["conditions"].(m365sim.Entity)["users"].(m365sim.Entity)
		for _, id := range append(users["includeGroups"].([]string), users["excludeGroups"].([]string)...) {
			has("policy group", ten.Groups, "id", id)
		}
		for _, id := range users["excludeUsers"].([]string) {
			if id != "GuestsOrExternalUsers" {
				has("policy user", ten.Users, "id", id)
			}
		}
	}
	for _, box := range ten.CASMailboxes {
		has("mailbox user", ten.Users, "id", box.String("ExternalDirectoryObjectId"))
		has("mailbox", ten.Mailboxes, "ExternalDirectoryObjectId", box.String("ExternalDirectoryObjectId"))
	}
	for _, row := range ten.OneDriveUsage {
		has("OneDrive owner", ten.Users, "userPrincipalName", row.String("ownerPrincipalName"))
	}
}

// TestAwkward checks that the tenants of the provider are as odd as their names
// in the package say.
func TestAwkward(t *testing.T) {
	s := MSPAt(testDay)
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"mid-size", len(s.Tenant(Ordinary).Users) >= 60 && len(s.Tenant(Ordinary).ManagedDevices) >= 40},
		{"over the cap of 100 users", len(s.Tenant(Large).Users) >= 150},
		{"markup in names", strings.Contains(s.Tenant(Markup).Users[0].String("displayName"), "<") || strings.Contains(s.Tenant(Markup).Users[1].String("displayName"), "<")},
		{"reports concealed", s.Tenant(Restricted).ReportsConcealed && s.Tenant(Restricted).NoIntune},
		{"permissions missing", !slices.Contains(s.Tenant(Restricted).Permissions, "Policy.Read.All")},
		{"direct", s.Tenant(Direct).Direct && s.Tenant(Direct).RefreshToken != ""},
		{"consent lost", s.Tenant(ConsentLost).Login == m365sim.ConsentMissing},
		{"excluded", slices.Contains(s.ExcludedTenants, s.Tenant(Excluded).ID)},
		{"two tenants in one organization", s.Organization(s.Tenant(SharedFirst).ID) == s.Organization(s.Tenant(SharedSecond).ID)},
		{"organization gone", s.Organization(s.Tenant(DeletedOrg).ID) == DeletedOrgID},
		{"unmapped", s.Organization(s.Tenant(Unmapped).ID) == 0},
	} {
		if !tt.ok {
			t.Errorf("the seed has no tenant: %s", tt.name)
		}
	}
	serials := map[string]int{}
	for _, d := range s.Tenant(Duplicates).ManagedDevices {
		serials[d.String("serialNumber")]++
	}
	for serial, want := range map[string]int{"5CG9990AA1": 2, "5CG9990AB2": 2, "Default string": 3, "0": 1, "": 1, "To be filled by O.E.M.": 1, "7xk 2 m93": 1} {
		if serials[serial] != want {
			t.Errorf("serial %q occurs %d times, want %d", serial, serials[serial], want)
		}
	}
}

// TestDeterministic checks that two seeds of one day differ in nothing but the
// credentials.
func TestDeterministic(t *testing.T) {
	for _, build := range []func() *Seed{
		func() *Seed { return MSPAt(testDay) },
		func() *Seed { return Generate(Size{Tenants: 1, Users: 30, Devices: 20, Groups: 5, Day: testDay}) },
	} {
		a, b := build(), build()
		if a.SAM.ApplicationSecret == b.SAM.ApplicationSecret || a.Ninja.Secret == b.Ninja.Secret {
			t.Error("credentials repeat")
		}
		if !reflect.DeepEqual(a.NinjaDevices, b.NinjaDevices) || !reflect.DeepEqual(a.Mappings, b.Mappings) {
			t.Error("NinjaOne's data differs")
		}
		for i := range a.Tenants {
			x, y := a.Tenants[i], b.Tenants[i]
			if !reflect.DeepEqual(x.Users, y.Users) || !reflect.DeepEqual(x.ManagedDevices, y.ManagedDevices) || !reflect.DeepEqual(x.Members, y.Members) {
				t.Errorf("%s differs", x.DefaultDomain)
			}
		}
	}
}

// TestTypicalDay checks that everything moves a little and a fiftieth really
// changes.
func TestTypicalDay(t *testing.T) {
	size := Size{Tenants: 1, Users: 100, Devices: 50, Groups: 3, Day: testDay}
	before, s := Generate(size), Generate(size)
	changed := s.TypicalDay(rand.New(rand.NewPCG(1, 2)))
	ten, old := s.Tenants[0], before.Tenants[0]
	if n := len(changed.Users[ten.ID]); n != 2 {
		t.Errorf("%d users changed, want 2", n)
	}
	if n := len(changed.ManagedDevices[ten.ID]); n != 1 {
		t.Errorf("%d devices changed, want 1", n)
	}
	for i, u := range ten.Users {
		if (u.String("displayName") != old.Users[i].String("displayName")) != slices.Contains(changed.Users[ten.ID], u.ID()) {
			t.Errorf("user %s changed, or is said to have", u.ID())
		}
	}
	for i, d := range ten.ManagedDevices {
		at, err := time.Parse(time.RFC3339, d.String("lastSyncDateTime"))
		if err != nil || !at.Truncate(24*time.Hour).Equal(testDay) || !at.After(mustTime(t, old.ManagedDevices[i].String("lastSyncDateTime"))) {
			t.Errorf("device %s did not check in again on its day: %v %v", d.ID(), at, err)
		}
		if (d["complianceState"] != old.ManagedDevices[i]["complianceState"]) != slices.Contains(changed.ManagedDevices[ten.ID], d.ID()) {
			t.Errorf("device %s changed, or is said to have", d.ID())
		}
	}
	if err := ten.Validate(); err != nil {
		t.Error(err)
	}
}

func mustTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	must(t, err)
	return at
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
