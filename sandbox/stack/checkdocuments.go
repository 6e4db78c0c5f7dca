package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// The templates of documents and their fields, as technicians know them.
const (
	usersTemplate    = "CIPP - Microsoft 365 Users"
	licensesTemplate = "CIPP - Microsoft 365 Licenses"
)

var documentFields = map[string][]string{
	usersTemplate:    {"cippUserLinks", "cippUserSummary", "cippUserDevices", "cippUserGroups"},
	licensesTemplate: {"cippLicenseSummary", "cippLicenseUsers"},
}

// shelf is what NinjaOne documents of one tenant: the documents that people see,
// by user or SKU id.
type shelf map[string]ninjasim.Document

// UserDocuments and LicenseDocuments return the documents that people see of a
// tenant, by user and by SKU id.
func (s *Stack) UserDocuments(tenantID string) map[string]ninjasim.Document {
	documents, _ := s.shelf(tenantID, usersTemplate, "cippUserID")
	return documents
}

// LicenseDocuments is described at [Stack.UserDocuments].
func (s *Stack) LicenseDocuments(tenantID string) map[string]ninjasim.Document {
	documents, _ := s.shelf(tenantID, licensesTemplate, "cippLicenseID")
	return documents
}

// shelf also says what is wrong with the documents as a whole.
func (s *Stack) shelf(tenantID, template, idField string) (found shelf, wrong []string) {
	found = shelf{}
	templates := map[int]bool{}
	for _, t := range s.NinjaOne.Templates() {
		if t.Name == template && !t.Archived {
			templates[t.ID] = true
		}
	}
	if len(templates) != 1 {
		wrong = append(wrong, fmt.Sprintf("there are %d templates %q", len(templates), template))
	}
	for _, d := range s.NinjaOne.Documents(s.Seed.Organization(tenantID)) {
		if d.Archived || !templates[d.TemplateID] || d.Fields["cippTenantID"] != tenantID {
			continue
		}
		id := d.Fields[idField]
		if other, twice := found[id]; twice {
			wrong = append(wrong, fmt.Sprintf("the documents %d and %d are both of %s", other.ID, d.ID, id))
		}
		found[id] = d
	}
	return found, wrong
}

// checkDocuments compares the documents of a tenant and their relations with
// its Microsoft 365. Relations are held against each device that one serial
// number identifies beyond doubt; ninja holds the devices by serial number.
func (s *Stack) checkDocuments(tenantID string, ninja map[string][]ninjasim.Device) []string {
	switches := s.Seed.Quirks
	if !switches.UserDocuments || !switches.LicenseDocuments {
		return nil
	}
	users, wrong := s.shelf(tenantID, usersTemplate, "cippUserID")
	licenses, more := s.shelf(tenantID, licensesTemplate, "cippLicenseID")
	wrong = append(wrong, more...)
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	wantUsers, wantLicenses := map[string]string{}, map[string]string{} // id to what the document must say
	want := map[string]bool{}                                           // "device or licence > user", as relations are named below
	certain := map[int]bool{}                                           // devices whose relations are known
	s.M365.Tenant(tenantID).View(func(t *m365sim.Tenant) {
		for _, k := range t.SKUs {
			id := k.String("skuId")
			if !slices.ContainsFunc(s.Seed.ExcludedSKUs, func(e seed.SKU) bool { return e.ID == id }) {
				wantLicenses[id] = k.String("skuPartNumber")
			}
		}
		for _, u := range t.Users {
			held := skusOf(u)
			if len(held) == 0 && switches.LicensedOnly {
				continue
			}
			wantUsers[u.ID()] = u.String("userPrincipalName")
			for _, sku := range held {
				if _, has := wantLicenses[sku]; has {
					want[sku+" > "+u.ID()] = true
				}
			}
		}
		for _, d := range certainDevices(t, ninja, s.Seed.Organization(tenantID)) {
			certain[d.ninja.ID] = true
			for _, user := range usersOf(d.intune) {
				if _, has := wantUsers[user]; has {
					want[fmt.Sprint(d.ninja.ID, " > ", user)] = true
				}
			}
		}
	})
	for template, kind := range map[string]struct {
		want map[string]string
		have shelf
	}{usersTemplate: {wantUsers, users}, licensesTemplate: {wantLicenses, licenses}} {
		for _, id := range slices.Sorted(maps.Keys(kind.want)) {
			d, has := kind.have[id]
			if !has {
				say("%s has no document", id)
				continue
			}
			if template == usersTemplate && !strings.Contains(d.Name, kind.want[id]) {
				say("the document %d of %s is called %q", d.ID, kind.want[id], d.Name)
			}
			text := ""
			for _, field := range documentFields[template] {
				v, ok := s.NinjaOne.DocumentField(d.ID, field)
				if !ok || strings.TrimSpace(v.Text) == "" {
					say("the document %d shows nothing in %s", d.ID, field)
				}
				if len(v.Removed) > 0 {
					say("NinjaOne stripped %v from %s of document %d", v.Removed, field, d.ID)
				}
				text += v.Text
			}
			if !strings.Contains(text, kind.want[id]) {
				say("the document %d does not show %q", d.ID, kind.want[id])
			}
		}
		if extra := len(kind.have) - len(kind.want); extra > 0 {
			say("%d documents of the template %q are of nobody who is there", extra, template)
		}
	}
	return append(wrong, s.checkRelations(users, licenses, want, certain)...)
}

// checkRelations holds the relations to the users' documents against those that
// are wanted, named "device or licence > user".
func (s *Stack) checkRelations(users, licenses shelf, want map[string]bool, certain map[int]bool) (wrong []string) {
	about := map[int]string{} // document to user or SKU id
	for _, documents := range []shelf{users, licenses} {
		for id, d := range documents {
			about[d.ID] = id
		}
	}
	have := map[string]int{}
	for _, r := range s.NinjaOne.Relations() {
		user, ours := about[r.RelatedID]
		switch {
		case r.RelatedType != "DOCUMENT" || !ours || r.MadeByTechnician:
		case r.EntityType == "NODE" && certain[r.EntityID]:
			have[fmt.Sprint(r.EntityID, " > ", user)]++
		case r.EntityType == "DOCUMENT":
			have[about[r.EntityID]+" > "+user]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != 1 {
			wrong = append(wrong, fmt.Sprintf("%d relations %s, want 1", have[name], name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !want[name] {
			wrong = append(wrong, fmt.Sprintf("%d relations %s, want none", have[name], name))
		}
	}
	return wrong
}

func skusOf(user m365sim.Entity) (ids []string) {
	list, _ := user["assignedLicenses"].([]m365sim.Entity)
	for _, l := range list {
		if id := l.String("skuId"); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// usersOf are the primary user of an Intune device and those who logged on to it.
func usersOf(device m365sim.Entity) []string {
	ids := []string{device.String("userId")}
	list, _ := device["usersLoggedOn"].([]m365sim.Entity)
	for _, l := range list {
		if id := l.String("userId"); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
