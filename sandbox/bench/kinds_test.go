package bench

import (
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// kind is a kind of change in Microsoft 365.
type kind struct {
	name string
	// change makes one, inside [m365sim.Tenant.Change], with a word that was not there
	// before. It returns what reports whether NinjaOne shows it.
	change func(w *watch, t *m365sim.Tenant, word string) (shown func() bool)
}

// kinds are those that reach NinjaOne within minutes. The users, devices and groups
// are those of [seed.Generate].
var kinds = []kind{
	{"user", func(w *watch, t *m365sim.Tenant, word string) func() bool {
		t.Users[0] = with(t.Users[0], m365sim.Entity{"jobTitle": word})
		return w.userShows(t.ID, t.Users[0].ID(), "cippUserSummary", word)
	}},
	{"licence", func(w *watch, t *m365sim.Tenant, _ string) func() bool {
		last, sku := len(t.Users)-1, t.SKUs[0].String("skuId") // the last one has none
		t.Users[last] = with(t.Users[last], m365sim.Entity{"assignedLicenses": t.Users[0]["assignedLicenses"], "licenseAssignmentStates": t.Users[0]["licenseAssignmentStates"]})
		t.SKUs[0] = with(t.SKUs[0], m365sim.Entity{"consumedUnits": t.SKUs[0]["consumedUnits"].(int) + 1})
		name := t.Users[last].String("userPrincipalName")
		return func() bool { return strings.Contains(w.LicenseDocuments(t.ID)[sku].Fields["cippLicenseUsers"], name) }
	}},
	{"group", func(w *watch, t *m365sim.Tenant, word string) func() bool {
		id := t.Users[0].ID()[:24] + t.Groups[0].ID()[24:]
		t.Groups = append(slices.Clone(t.Groups), with(t.Groups[0], m365sim.Entity{"id": id, "displayName": word}))
		t.Members[id] = []m365sim.Member{{Type: "user", ID: t.Users[0].ID()}}
		return w.userShows(t.ID, t.Users[0].ID(), "cippUserGroups", word)
	}},
	{"role", func(w *watch, t *m365sim.Tenant, _ string) func() bool {
		role, user := t.Roles[0].ID(), t.Users[2].ID()
		t.Members[role] = append(slices.Clone(t.Members[role]), m365sim.Member{Type: "user", ID: user})
		return w.userShows(t.ID, user, "cippUserSummary", t.Roles[0].String("displayName"))
	}},
	{"device", func(w *watch, t *m365sim.Tenant, word string) func() bool {
		t.ManagedDevices[0] = with(t.ManagedDevices[0], m365sim.Entity{"osVersion": word})
		return w.deviceShows(t.ManagedDevices[0], word)
	}},
	{"primary user", func(w *watch, t *m365sim.Tenant, _ string) func() bool {
		u := t.Users[1]
		t.ManagedDevices[0] = with(t.ManagedDevices[0], m365sim.Entity{"userId": u.ID(), "userPrincipalName": u["userPrincipalName"],
			"userDisplayName": u["displayName"], "emailAddress": u["mail"]})
		return w.deviceShows(t.ManagedDevices[0], u.String("userPrincipalName"))
	}},
}

// with returns a copy of an entity that has other properties.
func with(e m365sim.Entity, other m365sim.Entity) m365sim.Entity {
	e = maps.Clone(e)
	maps.Copy(e, other)
	return e
}

func (w *watch) userShows(tenantID, userID, field, text string) func() bool {
	return func() bool { return strings.Contains(w.UserDocuments(tenantID)[userID].Fields[field], text) }
}

func (w *watch) deviceShows(d m365sim.Entity, text string) func() bool {
	serial := d.String("serialNumber")
	i := slices.IndexFunc(w.Seed.NinjaDevices, func(d ninjasim.Device) bool { return d.SerialNumber == serial })
	return func() bool {
		v, _ := w.NinjaOne.DeviceField(w.Seed.NinjaDevices[i].ID, w.Seed.FieldMapping["DeviceSummary"])
		return strings.Contains(v.Sent, text)
	}
}
