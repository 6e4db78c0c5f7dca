package e2e

import (
	"slices"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/seed"
)

// With documents switched on in CIPP, each user and licence has one document,
// an unchanged run writes nothing, and a leaver's document is archived.
func TestDocuments(t *testing.T) {
	data := seed.MSP()
	data.Quirks.UserDocuments, data.Quirks.LicenseDocuments = true, true
	w := start(t, data)
	tenant := data.Tenant(seed.Ordinary)
	organization := data.Organization(tenant.ID)
	w.sync(seed.Ordinary)

	live := func() (users, licenses int) {
		templates := map[int]string{}
		for _, tmpl := range w.NinjaOne.Templates() {
			templates[tmpl.ID] = tmpl.Name
		}
		for _, d := range w.NinjaOne.Documents(organization) {
			switch {
			case d.Archived:
			case templates[d.TemplateID] == "CIPP - Microsoft 365 Users":
				users++
			case templates[d.TemplateID] == "CIPP - Microsoft 365 Licenses":
				licenses++
			}
		}
		return users, licenses
	}
	users, licenses := live()
	if users != len(tenant.Users) || licenses != len(tenant.SKUs) {
		t.Errorf("%d user and %d licence documents, want %d and %d; the logbook has %q",
			users, licenses, len(tenant.Users), len(tenant.SKUs), w.logbook(seed.Ordinary))
	}
	relations := w.NinjaOne.Relations()
	if len(relations) == 0 {
		t.Error("no document is related to a device or another document")
	}

	w.sync(seed.Ordinary) // what is related is known from now on
	w.NinjaOne.ResetCounters()
	w.sync(seed.Ordinary)
	if n := len(w.NinjaOne.DocumentWrites()) + len(w.NinjaOne.Writes()); n != 0 {
		t.Errorf("%d writes although nothing changed", n)
	}

	leaver := w.M365.Tenant(tenant.ID).Users[len(tenant.Users)-1].ID()
	removeUser(w.M365.Tenant(tenant.ID), leaver)
	w.sync(seed.Ordinary)
	if now, _ := live(); now != users-1 {
		t.Errorf("%d user documents after a user left, want %d", now, users-1)
	}
}

// removeUser deletes a user who is a member of nothing.
func removeUser(t *m365sim.Tenant, id string) {
	t.Change(func(t *m365sim.Tenant) {
		t.Users = slices.DeleteFunc(t.Users, func(u m365sim.Entity) bool { return u.ID() == id })
	})
}
