package seed

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// The default domains of the tenants of [MSP], named for what is odd about
// them.
const (
	Ordinary     = "harborline-logistics.example" // mid-size, nothing wrong
	Large        = "brightwater-dental.example"   // 150 users, more than a field lists
	Markup       = "elan-mueller.example"         // markup, quotes, emoji and long names everywhere
	Restricted   = "northgate-trust.example"      // missing permissions, concealed reports, no Intune
	Duplicates   = "cobalt-surveying.example"     // duplicate records, junk serials, equal names
	Direct       = "pinewood-legal.example"       // without partner relation, a refresh token of its own
	ConsentLost  = "larkspur-events.example"      // AADSTS65001
	Excluded     = "old-mill-bakery.example"      // excluded in CIPP
	SharedFirst  = "riverbend-hotels.example"     // shares an organization …
	SharedSecond = "riverbend-catering.example"   // … with this one
	DeletedOrg   = "quayside-optics.example"      // mapped to an organization that is gone
	Unmapped     = "juniper-field-clinic.example" // mapped to nothing
	deletedOrgID = 999                            // the organization that NinjaOne no longer has
	sharedOrgID  = 21
)

// MSP returns the invented provider as of today (UTC). Apart from credentials
// the data is the same for every call of a day.
func MSP() *Seed { return MSPAt(time.Now()) }

// MSPAt returns the provider as of a day.
func MSPAt(on time.Time) *Seed {
	s := newSeed(on)
	rng := rand.New(rand.NewPCG(2026, 11))
	s.Quirks.InstanceAsTyped = "https://eu.ninjarmm.com"
	s.ExcludedSKUs = []SKU{skuFlow}

	s.ordinary(rng)
	s.large(rng)
	s.markup(rng)
	s.restricted(rng)
	s.duplicates(rng)
	s.direct(rng)
	s.consentLost(rng)
	s.excluded(rng)
	s.shared(rng)
	s.deletedOrganization(rng)
	s.unmapped(rng)
	s.vulnerabilities()
	return s
}

// organization adds an organization and maps the tenant to it.
func (s *Seed) organization(b *builder, id int, name string) {
	s.Organizations = append(s.Organizations, ninjasim.Organization{ID: id, Name: name})
	s.mapTo(b, id, name)
}

func (s *Seed) mapTo(b *builder, id int, name string) {
	s.Mappings = append(s.Mappings, Mapping{TenantID: b.t.ID, OrganizationID: id, OrganizationName: name})
}

// lastMapping returns the mapping added last.
func (s *Seed) lastMapping() *Mapping { return &s.Mappings[len(s.Mappings)-1] }

func (s *Seed) ordinary(rng *rand.Rand) {
	b := newTenant(s, rng, "Harborline Logistics", Ordinary, 11)
	s.organization(b, 11, "Harborline Logistics")
	m := s.lastMapping()
	m.LastStart, m.LastEnd, m.LastStatus = s.Day.Add(-22*time.Hour), s.Day.Add(-22*time.Hour+3*time.Minute), "Completed"
	office := b.users(44, skuE3)
	warehouse := b.users(10, skuMail)
	b.users(6)
	b.guests(5)
	for i, u := range office[:8] {
		b.license(u, skuFlow, s.Day.AddDate(0, -i-1, 0))
	}
	for _, u := range office[:3] {
		b.license(u, skuP2, s.Day.AddDate(0, -2, 0))
		b.license(u, skuDefender, s.Day.AddDate(0, -2, 0))
	}
	b.products(4, skuE3, skuMail, skuP2, skuDefender, skuFlow, skuTrial)
	b.hybrid()
	b.computers(36)
	for i := range 4 {
		b.machine(machine{name: fmt.Sprintf("HL-PHONE-%02d", i+1), platform: []string{"iOS", "Android"}[i%2],
			model: model{"Apple", "iPhone 14", "Phone", "F2L", 12}, serial: b.serial(model{serialPrefix: "F2L", serialLength: 12}), user: office[i]})
	}
	b.machine(machine{name: "HL-SRV-01", platform: "Windows", noIntune: true, noEntra: true, server: true, serial: "VMware-56 4d 11 0c",
		model: model{"VMware, Inc.", "VMware7,1", "Other", "", 0}})
	b.machine(machine{name: "HL-SPARE-01", platform: "Windows", noIntune: true, noEntra: true, serial: "5CG0000QX1", model: windowsModels[1]})
	b.machine(machine{name: "HL-NEW-01", platform: "Windows", noNinja: true, serial: "PF00QX77", model: windowsModels[2], user: office[5]})
	b.compliancePolicies()

	inner := b.group("Head office, finance", "security", refs("user", some(rng, office, 9)...)...)
	middle := b.group("Head office", "security", append(refs("user", some(rng, office, 6)...), m365sim.Member{Type: "group", ID: inner})...)
	b.group("All staff", "dynamic", refs("user", append(append([]entity{}, office...), warehouse...)...)...)
	b.group("Warehouse team", "unified", refs("user", warehouse...)...)
	b.group("Laptops with pilot updates", "security", b.deviceRefs(7)...)
	b.group("Finance reports", "mail", refs("user", some(rng, office, 4)...)...)
	exclusions := b.group("CA exclusions", "security", refs("user", office[40])...)
	helpdesk := b.group("Helpdesk role holders", "role", refs("user", office[1], office[2])...)
	b.group("Empty group", "security")
	b.role(roleGlobalAdmin, refs("user", office[0], office[1])...)
	b.role(roleHelpdesk, m365sim.Member{Type: "group", ID: helpdesk})
	b.role(roleExchangeAdmin, append(refs("user", office[2]), m365sim.Member{Type: "servicePrincipal", ID: b.guid()})...)
	b.role(roleIntuneAdmin, refs("user", office[2])...)
	b.role(roleReader)
	b.access(exclusions, middle, office[0].ID())
	b.security(0.5, "ManagePermissionGrantsForSelf.microsoft-user-default-legacy")
	b.mail()
	b.t.BlockedSenders = []entity{{"SenderAddress": warehouse[0].String("mail"), "Reason": "OutboundSpamLast24Hours=212", "CreatedDatetime": stamp(s.Day.AddDate(0, 0, -1))}}
}

// plain fills a small tenant with a little of everything.
func (s *Seed) plain(b *builder, users, computers int, sku SKU) []entity {
	list := b.users(users, sku)
	b.products(1, sku)
	b.computers(computers)
	b.compliancePolicies()
	all := b.group("Everyone", "dynamic", refs("user", list...)...)
	b.role(roleGlobalAdmin, refs("user", list[0])...)
	b.access(all, all, list[0].ID())
	b.security(0.3)
	b.mail()
	return list
}

func (s *Seed) large(rng *rand.Rand) {
	b := newTenant(s, rng, "Brightwater Dental Group", Large, 12)
	s.organization(b, 12, "Brightwater Dental")
	s.lastMapping().StartAsDateTime = true
	s.lastMapping().LastStart, s.lastMapping().LastStatus = s.Day.Add(-30*time.Hour), "Failed"
	b.passwordsExpire(90)
	list := b.users(132, skuPremium)
	b.users(18)
	b.guests(12)
	b.products(8, skuPremium)
	b.computers(70)
	b.compliancePolicies()
	b.group("Clinicians", "security", refs("user", list[:90]...)...)
	inner := b.group("Practice managers", "security", refs("user", list[90:97]...)...)
	outer := b.group("Managers", "security", m365sim.Member{Type: "group", ID: inner})
	b.role(roleGlobalAdmin, refs("user", list[0], list[1], list[2], list[3], list[4], list[5])...)
	b.role(roleUserAdmin, refs("user", list[6])...)
	b.access(outer, outer, list[0].ID())
	b.security(0.8, "ManagePermissionGrantsForSelf.microsoft-user-default-low")
	b.mail()
}

func (s *Seed) markup(rng *rand.Rand) {
	name := `Müller & Söhne <b>GmbH</b> "Élan" 🚀`
	b := newTenant(s, rng, name, Markup, 13)
	s.organization(b, 13, name)
	i := 0
	b.rename = func(plain string) string {
		i++
		if i%17 == 0 {
			return plain + " " + strings.Repeat(`Very <i>long</i> & "wide" 名 `, 12)[:200]
		}
		return awkwardNames[i%len(awkwardNames)] + " " + plain
	}
	list := b.users(24, skuPremium)
	b.guests(2)
	for i, u := range list {
		u["jobTitle"] = awkwardNames[(i+3)%len(awkwardNames)]
		u["department"] = awkwardNames[(i+5)%len(awkwardNames)]
		u["officeLocation"] = `<a href="javascript:alert(1)">Office</a>`
	}
	sku := skuTrial
	sku.PartNumber = `VISIO<b>"&'CLIENT`
	b.products(2, skuPremium, sku)
	b.computers(16)
	b.compliancePolicies()
	group := b.group(`Team <img src="//evil.example/x.png">`, "unified", refs("user", list...)...)
	nested := b.group("Nested", "security", m365sim.Member{Type: "group", ID: group})
	b.role(roleGlobalAdmin, refs("user", list[0], list[3])...)
	b.access(group, nested, list[0].ID())
	b.security(0.4)
	for i, p := range b.t.SecureScoreProfiles {
		p["actionUrl"] = []string{`javascript:alert("score")`, "http://plain.example/", `https://ok.example/?a="b"&c=<d>`, "//evil.example"}[i%4]
	}
	b.mail()
	for i := range s.NinjaDevices {
		if d := &s.NinjaDevices[i]; d.OrganizationID == 13 {
			d.LastLoggedInUser = `ELAN\<u>` + d.LastLoggedInUser
		}
	}
}

func (s *Seed) restricted(rng *rand.Rand) {
	b := newTenant(s, rng, "Northgate Community Trust", Restricted, 14)
	s.organization(b, 14, "Northgate Community Trust")
	list := b.users(18, skuStandard)
	b.products(0, skuStandard)
	b.group("Trustees", "security", refs("user", list[:5]...)...)
	b.role(roleGlobalAdmin, refs("user", list[0])...)
	b.access(b.group("Volunteers", "security"), b.t.Groups[0].ID(), list[0].ID())
	b.security(0.1)
	b.mail()
	for i := range 6 {
		b.machine(machine{name: fmt.Sprintf("NT-PC-%d", i+1), platform: "Windows", model: windowsModels[4], serial: b.serial(windowsModels[4]),
			noIntune: true, user: list[i]})
	}
	b.t.ReportsConcealed, b.t.NoIntune, b.t.NoExchangeRole = true, true, true
	b.t.Deny("Policy.Read.All", "SecurityEvents.Read.All", "ReportSettings.Read.All", "AuditLog.Read.All")
	b.t.AuditLogConfig["UnifiedAuditLogIngestionEnabled"] = false
}

func (s *Seed) duplicates(rng *rand.Rand) {
	b := newTenant(s, rng, "Cobalt Ridge Surveying", Duplicates, 15)
	s.organization(b, 15, "Cobalt Ridge Surveying")
	s.lastMapping().ByDomain = true
	list := s.plain(b, 14, 8, skuPremium)
	dell, hp := windowsModels[0], windowsModels[1]
	old := s.Day.AddDate(0, -4, 0)

	// One machine enrolled twice: the newer record counts.
	b.machine(machine{name: "CR-LT-100", platform: "Windows", model: hp, serial: "5CG9990AA1", user: list[1], state: "noncompliant", noNinja: true, lastSync: old, enrolled: old.AddDate(-1, 0, 0)})
	b.machine(machine{name: "CR-LT-100", platform: "Windows", model: hp, serial: "5CG9990AA1", user: list[1], state: "compliant"})
	// Enrolled again under another name.
	b.machine(machine{name: "DESKTOP-7QX21", platform: "Windows", model: hp, serial: "5CG9990AB2", user: list[2], noNinja: true, lastSync: old})
	b.machine(machine{name: "CR-LT-101", platform: "Windows", model: hp, serial: "5CG9990AB2", user: list[2]})
	// Serials that makers never filled in; some names still match.
	for i, junk := range []string{"Default string", "0", "To be filled by O.E.M.", "", "System Serial Number", "None"} {
		b.machine(machine{name: fmt.Sprintf("CR-WS-%02d", i+1), platform: "Windows", model: model{"ASUSTeK", "PRIME B560", "Desktop", "", 0},
			serial: junk, user: list[i+3]})
	}
	// A serial with spaces on one side, and in another letter case.
	b.machine(machine{name: "CR-LT-110", platform: "Windows", model: dell, serial: "7xk 2 m93", biosSerial: "7XK2M93", ninjaSerial: "/7XK2M93/CNWS2008/", ninjaName: "CR-SURVEY-110"})
	// Only the other of NinjaOne's serial fields holds the serial.
	b.machine(machine{name: "CR-LT-111", platform: "Windows", model: dell, serial: "8ZZ4N11", biosSerial: "Default string", ninjaSerial: "8ZZ4N11", ninjaName: "CR-SURVEY-111"})
	// Two machines of one name, told apart by their serials.
	b.machine(machine{name: "CR-TABLET", platform: "Windows", model: dell, serial: "1AB2C31"})
	b.machine(machine{name: "CR-TABLET", platform: "Windows", model: dell, serial: "1AB2C32"})
	// Two of one name without serials: nothing tells them apart.
	b.machine(machine{name: "CR-KIOSK", platform: "Windows", model: dell, serial: "Default string"})
	b.machine(machine{name: "CR-KIOSK", platform: "Windows", model: dell, serial: "Default string"})
	// A name that the serials contradict.
	b.machine(machine{name: "CR-LT-120", platform: "Windows", model: dell, serial: "3CD4E51", biosSerial: "9YY9Y99", ninjaSerial: "9YY9Y99"})
	// Enrolled without an Entra device.
	b.machine(machine{name: "CR-LT-121", platform: "Windows", model: dell, serial: "4DE5F61", noEntra: true})
}

func (s *Seed) direct(rng *rand.Rand) {
	b := newTenant(s, rng, "Pinewood Legal", Direct, 16)
	s.organization(b, 16, "Pinewood Legal LLP")
	s.plain(b, 9, 7, skuPremium)
	b.t.Direct, b.t.RefreshToken = true, randomSecret()
}

func (s *Seed) consentLost(rng *rand.Rand) {
	b := newTenant(s, rng, "Larkspur Events", ConsentLost, 17)
	s.organization(b, 17, "Larkspur Events")
	s.plain(b, 6, 4, skuStandard)
	b.t.Login = m365sim.ConsentMissing
}

func (s *Seed) excluded(rng *rand.Rand) {
	b := newTenant(s, rng, "Old Mill Bakery", Excluded, 18)
	s.organization(b, 18, "Old Mill Bakery")
	s.plain(b, 5, 3, skuStandard)
	s.ExcludedTenants = append(s.ExcludedTenants, b.t.ID)
}

func (s *Seed) shared(rng *rand.Rand) {
	b := newTenant(s, rng, "Riverbend Hotels", SharedFirst, sharedOrgID)
	s.organization(b, sharedOrgID, "Riverbend Group")
	s.plain(b, 12, 8, skuPremium)
	b = newTenant(s, rng, "Riverbend Catering", SharedSecond, sharedOrgID)
	s.mapTo(b, sharedOrgID, "Riverbend Group")
	b.prefix = "RBC"
	s.plain(b, 8, 5, skuPremium)
	s.lastMapping().Legacy = true
}

func (s *Seed) deletedOrganization(rng *rand.Rand) {
	b := newTenant(s, rng, "Quayside Optics", DeletedOrg, deletedOrgID)
	s.mapTo(b, deletedOrgID, "Quayside Optics")
	before := len(s.NinjaDevices)
	s.plain(b, 6, 4, skuStandard)
	s.NinjaDevices = s.NinjaDevices[:before] // they went with the organization
}

func (s *Seed) unmapped(rng *rand.Rand) {
	b := newTenant(s, rng, "Juniper Field Clinic", Unmapped, 22)
	s.Organizations = append(s.Organizations, ninjasim.Organization{ID: 22, Name: "Juniper Field Clinic"})
	s.plain(b, 7, 5, skuPremium)
}
