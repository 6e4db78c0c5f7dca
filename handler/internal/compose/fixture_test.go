package compose

import (
	"fmt"
	"math/rand/v2"
	"time"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// today is the day the fixtures are looked at.
var today = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

const gb = int64(1) << 30

func ago(days int) time.Time { return today.AddDate(0, 0, -days) }

// id makes a GUID of the given kind and number.
func id(kind, n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", kind, n) }

const (
	kindTenant = iota + 1
	kindUser
	kindGroup
	kindRole
	kindSKU
	kindDevice
	kindEntra
	kindObject
)

func ptr[T any](v T) *T { return &v }

// planIDs are service plans that the file of names knows.
var planIDs = map[string]string{"AAD_PREMIUM": id(kindObject, 900)}

// believable is a small tenant in which most things can be read.
func believable() Input {
	sku := func(n int, part string, enabled, consumed int, plans ...string) tenant.SKU {
		s := tenant.SKU{ID: id(kindSKU, n), PartNumber: part, AppliesTo: "User", Status: "Enabled", Consumed: consumed, Units: tenant.Units{Enabled: enabled}}
		for _, p := range plans {
			s.ServicePlans = append(s.ServicePlans, tenant.ServicePlan{ID: planIDs[p], Name: p, AppliesTo: "User", Status: "Success"})
		}
		return s
	}
	user := func(n int, name, upn string, skus ...int) tenant.User {
		u := tenant.User{ID: id(kindUser, n), DisplayName: name, UserPrincipalName: upn, UserType: "Member", Enabled: true}
		for _, s := range skus {
			u.Licenses = append(u.Licenses, tenant.License{SKUID: id(kindSKU, s), Assigned: ago(200)})
		}
		return u
	}
	users := []tenant.User{
		user(1, "Mira Sandström", "mira@larkfield.example", 1, 2),
		user(2, "Tobias Okafor", "tobias@larkfield.example", 1),
		user(3, "Reception", "reception@larkfield.example"),
		user(4, "Ann-Kathrin Vogel", "ak.vogel@larkfield.example", 3),
		user(5, "Former Colleague", "former@larkfield.example"),
		user(6, "Auditor (Quillmark)", "auditor_quillmark.example#EXT#@larkfield.onmicrosoft.com", 1),
	}
	users[4].Enabled = false
	users[5].UserType = "Guest"

	devices := []tenant.ManagedDevice{
		{
			ID: id(kindDevice, 1), AzureADDeviceID: id(kindEntra, 1), DeviceName: "LARK-L-014", SerialNumber: "PF4X9K2M", Manufacturer: "LENOVO",
			Model: "ThinkPad T14 Gen 5", OperatingSystem: "Windows", OSVersion: "10.0.26100.4349", ComplianceState: tenant.StateCompliant,
			ComplianceGraceUntil: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Enrolled: ago(300), LastSync: ago(0), OwnerType: "company",
			EnrollmentType: "windowsAzureADJoin", RegistrationState: "registered", ManagementAgent: "mdm", ManagementState: "managed",
			EnrollmentProfile: "Office laptops", Encrypted: true, TotalStorage: 476 * gb, FreeStorage: 201 * gb, PhysicalMemory: 16 * gb,
			UserID: users[0].ID, UserPrincipalName: users[0].UserPrincipalName, UserDisplayName: users[0].DisplayName, EmailAddress: users[0].UserPrincipalName,
			JoinType: "azureADJoined", ChassisType: "laptop", Autopilot: ptr(true), FromBetaList: true,
			UsersLogged: []tenant.LoggedOn{{UserID: users[0].ID, Last: ago(1)}, {UserID: users[1].ID, Last: ago(45)}, {UserID: users[1].ID, Last: ago(20)}},
			Hardware:    &tenant.HardwareSecurity{DeviceGuard: "meetsHardwareRequirements", VirtualizationBasedSecurity: "running", CredentialGuard: "running"},
		},
		{
			ID: id(kindDevice, 2), AzureADDeviceID: id(kindEntra, 2), DeviceName: "LARK-L-022", SerialNumber: "5CD3410XYZ", Manufacturer: "HP",
			Model: "EliteBook 840 G10", OperatingSystem: "Windows", OSVersion: "10.0.22631.5039", ComplianceState: tenant.StateInGracePeriod,
			ComplianceGraceUntil: today.AddDate(0, 0, 6), Enrolled: ago(120), LastSync: ago(12), OwnerType: "company",
			EnrollmentType: "windowsAutoEnrollment", RegistrationState: "registered", ManagementAgent: "configurationManagerClientMdm", ManagementState: "managed",
			TotalStorage: 238 * gb, FreeStorage: 11 * gb, UserID: users[1].ID, UserPrincipalName: users[1].UserPrincipalName, UserDisplayName: users[1].DisplayName,
		},
		{
			ID: id(kindDevice, 3), AzureADDeviceID: id(kindEntra, 3), DeviceName: "AK's iPhone", SerialNumber: "H7KQ2P0NML", Manufacturer: "Apple",
			Model: "iPhone 16", OperatingSystem: "iOS", OSVersion: "26.1", ComplianceState: tenant.StateCompliant, Enrolled: ago(40), LastSync: ago(2),
			OwnerType: "personal", EnrollmentType: "appleUserEnrollment", RegistrationState: "registered", ManagementAgent: "mdm", ManagementState: "managed",
			Encrypted: true, TotalStorage: 128 * gb, FreeStorage: 64 * gb, UserID: users[3].ID, UserPrincipalName: users[3].UserPrincipalName, UserDisplayName: users[3].DisplayName,
		},
		{
			ID: id(kindDevice, 4), DeviceName: "LARK-L-014", SerialNumber: "PF4X9K2M", Manufacturer: "LENOVO",
			Model: "ThinkPad T14 Gen 5", OperatingSystem: "Windows", OSVersion: "10.0.22631.2861", ComplianceState: tenant.StateUnknown, Enrolled: ago(700), LastSync: ago(301),
			OwnerType: "company", EnrollmentType: "windowsAzureADJoin", ManagementAgent: "mdm",
		},
	}
	snap := &tenant.Snapshot{
		Tenant: tenant.Ref{ID: id(kindTenant, 1), DisplayName: "Larkfield Surveyors", DefaultDomain: "larkfield.example", InitialDomain: "larkfield.onmicrosoft.com"},
		ReadAt: today,
		Organization: tenant.Present(tenant.Organization{
			DisplayName: "Larkfield Surveyors Ltd", Created: time.Date(2019, 4, 2, 8, 0, 0, 0, time.UTC), OnPremisesSyncEnabled: true, OnPremisesLastSync: ago(0),
		}),
		Domains: tenant.Present([]tenant.Domain{
			{Name: "larkfield.example", IsDefault: true, IsVerified: true, PasswordValidityDays: ptr(tenant.NeverExpires)},
			{Name: "larkfield.onmicrosoft.com", IsInitial: true, IsVerified: true},
			{Name: "unverified.example"},
		}),
		Users: tenant.Present(users),
		Groups: tenant.Present([]tenant.Group{
			{ID: id(kindGroup, 1), DisplayName: "Office laptops", SecurityEnabled: true, GroupTypes: []string{"DynamicMembership"},
				Members: []tenant.Member{{ID: id(kindObject, 1), Kind: tenant.MemberDevice}, {ID: id(kindObject, 2), Kind: tenant.MemberDevice}}},
			{ID: id(kindGroup, 2), DisplayName: "All endpoints", SecurityEnabled: true,
				Members: []tenant.Member{{ID: id(kindGroup, 1), Kind: tenant.MemberGroup}}},
			{ID: id(kindGroup, 3), DisplayName: "Everything", SecurityEnabled: true,
				Members: []tenant.Member{{ID: id(kindGroup, 2), Kind: tenant.MemberGroup}, {ID: id(kindGroup, 3), Kind: tenant.MemberGroup}}},
			{ID: id(kindGroup, 4), DisplayName: "Surveyors", GroupTypes: []string{"Unified"}, MailEnabled: true, Mail: "surveyors@larkfield.example",
				Members: []tenant.Member{{ID: users[0].ID, Kind: tenant.MemberUser}, {ID: users[1].ID, Kind: tenant.MemberUser}}},
		}),
		Roles: tenant.Present([]tenant.DirectoryRole{
			{ID: id(kindRole, 1), TemplateID: tenant.GlobalAdministrator, DisplayName: "Global Administrator", Members: []tenant.Member{{ID: users[1].ID, Kind: tenant.MemberUser}}},
			{ID: id(kindRole, 2), TemplateID: id(kindRole, 102), DisplayName: "Exchange Administrator",
				Members: []tenant.Member{{ID: users[1].ID, Kind: tenant.MemberUser}, {ID: users[0].ID, Kind: tenant.MemberUser}, {ID: id(99, 1), Kind: "servicePrincipal"}}},
			{ID: id(kindRole, 3), TemplateID: id(kindRole, 103), DisplayName: "Helpdesk Administrator"},
			{ID: id(kindRole, 4), TemplateID: id(kindRole, 104), DisplayName: "Directory Readers", Members: []tenant.Member{{ID: users[2].ID, Kind: tenant.MemberUser}}},
		}),
		SKUs: tenant.Present([]tenant.SKU{
			sku(1, "SPE_E3", 25, 3, "AAD_PREMIUM", "MDE_LITE", "EXCHANGE_S_ENTERPRISE"),
			sku(2, "VISIO_CLIENT", 2, 1),
			sku(3, "SPB", 1, 2, "AAD_PREMIUM", "MDE_SMB"),
			sku(4, "FLOW_FREE", 10000, 0),
		}),
		ManagedDevices: tenant.Present(devices),
		EntraDevices: tenant.Present([]tenant.EntraDevice{
			{ID: id(kindObject, 1), DeviceID: id(kindEntra, 1), Name: "LARK-L-014", TrustType: "AzureAd", Enabled: true, Registered: ago(300), Autopilot: true},
			{ID: id(kindObject, 2), DeviceID: id(kindEntra, 2), Name: "LARK-L-022", TrustType: "ServerAd", Enabled: true, Registered: ago(120)},
		}),
		PolicyStates: tenant.Present(map[string][]tenant.PolicyState{
			id(kindDevice, 2): {
				{Policy: "Windows baseline", Platform: "windows10AndLater", State: tenant.StateNoncompliant, Settings: []tenant.SettingState{
					{Setting: "Windows10CompliancePolicy.BitLockerEnabled", State: tenant.StateNoncompliant, CurrentValue: "false", UserName: "Tobias Okafor"},
					{Setting: "Windows10CompliancePolicy.OsMinimumVersion", State: tenant.StateNoncompliant, CurrentValue: "10.0.22631.5039", ErrorDescription: "The version is older than the policy asks for", UserName: "Tobias Okafor"},
				}},
				{Policy: "Antivirus", Platform: "windows10AndLater", State: tenant.StateCompliant},
			},
		}),
		AuthorizationPolicy: tenant.Present(tenant.AuthorizationPolicy{UserConsentPolicies: []string{"ManagePermissionGrantsForSelf.microsoft-user-default-low", "ManagePermissionGrantsForOwnedResource.any"}}),
		SecureScore: tenant.Present(tenant.SecureScore{Created: ago(1), Current: 612.4, Max: 1043, Actions: []tenant.ScoreAction{
			{Control: "mfa_admins", Title: "Require multifactor authentication for administrators", Category: "Identity", URL: "https://security.microsoft.com/example?tid=1#frag/ment", Score: 0, Max: 10},
			{Control: "legacy", Title: "Block legacy authentication", Category: "Identity", URL: "http://plain.example/", Score: 2, Max: 8},
			{Control: "done", Title: "Already done", Category: "Apps", Score: 5, Max: 5},
			{Control: "dlp", Title: "Create data loss policies", Category: "Data", Score: 0, Max: 5},
			{Control: "no_profile", Score: 1, Max: 4},
			{Control: "links", Title: "Turn on Safe Links", Category: "Apps", URL: "javascript:alert(1)", Score: 7.5, Max: 9},
			{Control: "tiny", Title: "Smallest gain", Category: "Apps", Score: 0, Max: 1},
		}}),
		MailboxUsage: tenant.Present([]tenant.MailboxUsage{
			{UserPrincipalName: "Mira@larkfield.example", Used: 17*gb + gb/3, SendReceiveQuota: 100 * gb, SendQuota: 99 * gb, RefreshDate: ago(2)},
			{UserPrincipalName: "tobias@larkfield.example", Used: 48*gb + gb/5, SendReceiveQuota: 50 * gb, RefreshDate: ago(2)},
			{UserPrincipalName: "reception@larkfield.example", Used: gb / 5, RefreshDate: ago(2)},
		}),
		OneDriveUsage: tenant.Present([]tenant.OneDriveUsage{
			{OwnerPrincipalName: "mira@larkfield.example", Used: 850 * gb, Allocated: 1024 * gb, RefreshDate: ago(2)},
			{OwnerPrincipalName: "ak.vogel@larkfield.example", Used: 3 * gb, Allocated: 5 * 1024 * gb, RefreshDate: ago(2)},
		}),
		UnifiedAudit:   tenant.Present(true),
		BlockedSenders: tenant.Present([]string(nil)),
	}
	forDocuments(snap)
	in := Input{
		Snapshot: snap, NinjaHost: "eu.ninjarmm.com", CIPPHost: "cipp.msp.example",
		ExcludedSKUs: map[string]bool{id(kindSKU, 4): true},
		SKUNames:     map[string]string{id(kindSKU, 1): "Microsoft 365 E3", id(kindSKU, 2): "Visio Plan 2", id(kindSKU, 3): "Microsoft 365 Business Premium", id(kindObject, 900): "Microsoft Entra ID P1"},
		Standards: tenant.Present([]tenant.Standard{
			{Template: "Baseline", Name: "AuditLog", Actions: []string{"Remediate", "Report"}},
			{Template: "Baseline", Name: "Disable legacy authentication", Actions: []string{"Alert"}},
		}),
		Exposure: exposed(),
		Today:    today,
	}
	return withMatches(in)
}

// exposed is what the last file of vulnerabilities said: of seven devices, one with
// more CVEs than are listed, one with none of the worst.
func exposed() *exposure.Tenant {
	cve := func(n int, s exposure.Severity, software, version, fixed, address string) exposure.CVE {
		return exposure.CVE{ID: fmt.Sprintf("CVE-2026-9%04d", n), Severity: s, Software: software, Version: version, Fixed: fixed, FixedURL: address}
	}
	e := &exposure.Tenant{
		Day:  ago(3),
		Open: exposure.Counts{exposure.Critical: 3, exposure.High: 12, exposure.Medium: 31, exposure.Low: 4, exposure.Unrated: 1},
		Devices: []exposure.Device{
			{NinjaOneID: 41, Name: "NPF4X9K2M", Open: exposure.Counts{exposure.Critical: 2, exposure.High: 9, exposure.Medium: 14},
				Worst: []exposure.CVE{
					cve(1, exposure.Critical, "microsoft windows_11", "10.0.26100.4349", "December 2026 Security Updates", "https://catalog.update.example/search?q=KB5048685"),
					cve(2, exposure.Critical, "google chrome", "129.0.6668.58", "131.0.6778.139", "http://plain.example/"),
				}},
			{NinjaOneID: 42, Name: "N5CD3410XYZ", Open: exposure.Counts{exposure.Medium: 3}},
			{NinjaOneID: 0, Name: "FRONT-DESK", Open: exposure.Counts{exposure.Critical: 1}},
		},
	}
	for n := range 8 {
		e.Devices[0].Worst = append(e.Devices[0].Worst, cve(10+n, exposure.High, "adobe acrobat_reader_dc", "", "", ""))
	}
	for n := range 4 {
		e.Devices = append(e.Devices, exposure.Device{NinjaOneID: 50 + n, Name: fmt.Sprintf("LARK-D-%d", n), Open: exposure.Counts{exposure.High: n + 1, exposure.Low: 1}})
	}
	return e
}

// withMatches matches the devices with NinjaOne devices of the same serial.
func withMatches(in Input) Input {
	byserial := map[string]int{"PF4X9K2M": 41, "5CD3410XYZ": 42}
	var ninja []ninjaone.Device
	for serial, n := range byserial {
		ninja = append(ninja, ninjaone.Device{ID: n, OrganizationID: 7, NodeClass: "WINDOWS_WORKSTATION", SystemName: "N" + serial, SerialNumber: serial})
	}
	in.Matches = match.Devices(in.Snapshot.ManagedDevices.Value, ninja)
	return in
}

// pairOf returns the pair of a managed device, or one without NinjaOne device.
func pairOf(in Input, deviceID string) match.Pair {
	for _, p := range in.Matches.Pairs {
		if p.Intune.ID == deviceID {
			return p
		}
	}
	for i := range in.Snapshot.ManagedDevices.Value {
		if d := &in.Snapshot.ManagedDevices.Value[i]; d.ID == deviceID {
			return match.Pair{Intune: d, Ninja: &ninjaone.Device{}}
		}
	}
	panic("no device " + deviceID)
}

// hostile strings that must stay text.
const (
	script  = `<script>alert("x")</script>`
	breaker = `"><img src=x onerror=alert(1)>`
	quoted  = `' style='x' {{.}} &amp; <b>bold</b> ` + "\u202e\x00\x1b[31m\xff"
)

// awkward is a tenant with markup in every name and many parts missing.
func awkward() Input {
	in := believable()
	s := in.Snapshot
	poison(in, script+breaker+quoted)
	s.Tenant.InitialDomain = "not a domain/.onmicrosoft.com"
	s.MailboxUsage = tenant.Absent[[]tenant.MailboxUsage]("Usage reports hide user names in this tenant")
	s.OneDriveUsage = tenant.Absent[[]tenant.OneDriveUsage]("Not available: usage reports hide user names in this tenant" + script)
	s.AuthorizationPolicy = tenant.Absent[tenant.AuthorizationPolicy]("the app lacks Policy.Read.All")
	s.UnifiedAudit = tenant.Present(false)
	s.BlockedSenders = tenant.Absent[[]string]("Exchange Online cannot be reached" + script)
	s.SecureScore.Value.Actions[0].URL = `https://evil.example/"><script>alert(1)</script>`
	s.SecureScore.Value.Actions[1].URL = "https://user:secret@evil.example/"
	s.SecureScore.Value.Actions[2].URL = "javascript:alert(1)"
	s.SecureScore.Value.Actions[3].URL = " //evil.example"
	s.Domains.Value[0].PasswordValidityDays = nil
	s.EntraDevices = tenant.Absent[[]tenant.EntraDevice]("the app lacks Device.Read.All")
	in.Standards = tenant.Absent[[]tenant.Standard]("the table of templates cannot be read")
	in.CIPPHost = "cipp.example/path?x=<script>"
	in.Shared = true
	return in
}

// poison puts s into every text that comes from the tenant.
func poison(in Input, s string) {
	snap := in.Snapshot
	snap.Tenant.DisplayName, snap.Tenant.DefaultDomain, snap.Tenant.ID = s, s, s
	snap.Organization.Value.DisplayName = s
	for i := range snap.Domains.Value {
		snap.Domains.Value[i].Name += s
	}
	for i := range snap.Users.Value {
		u := &snap.Users.Value[i]
		u.DisplayName, u.UserPrincipalName, u.Mail = s, s+u.UserPrincipalName, s
	}
	for i := range snap.Groups.Value {
		snap.Groups.Value[i].DisplayName = s
	}
	for i := range snap.Roles.Value {
		snap.Roles.Value[i].DisplayName = "administrator" + s
	}
	for i := range snap.SKUs.Value {
		k := &snap.SKUs.Value[i]
		k.PartNumber, k.Status = s, s
		in.SKUNames[k.ID] = s
	}
	for i := range snap.ManagedDevices.Value {
		d := &snap.ManagedDevices.Value[i]
		d.DeviceName, d.Manufacturer, d.Model, d.OperatingSystem, d.OSVersion = s, s, s, s, s
		d.OwnerType, d.EnrollmentType, d.RegistrationState, d.ManagementAgent, d.ManagementState, d.EnrollmentProfile = s, s, s, s, s, s
		d.JoinType, d.ChassisType, d.UserDisplayName, d.EmailAddress, d.UserPrincipalName = s, s, s, s, s
		d.Hardware = &tenant.HardwareSecurity{DeviceGuard: s, VirtualizationBasedSecurity: s, CredentialGuard: s}
	}
	for _, states := range snap.PolicyStates.Value {
		for i := range states {
			states[i].Policy, states[i].Platform = s, s
			for j := range states[i].Settings {
				v := &states[i].Settings[j]
				v.Setting, v.State, v.CurrentValue, v.ErrorDescription, v.UserName = s, s, s, s, s
			}
		}
	}
	for i := range snap.SecureScore.Value.Actions {
		a := &snap.SecureScore.Value.Actions[i]
		a.Title, a.Category, a.URL = s, s, s
	}
	for i := range in.Standards.Value {
		v := &in.Standards.Value[i]
		v.Name, v.Template, v.Actions = s, s, []string{s}
	}
	for i := range in.Exposure.Devices {
		d := &in.Exposure.Devices[i]
		d.Name = s
		for j := range d.Worst {
			d.Worst[j] = exposure.CVE{ID: s, Severity: d.Worst[j].Severity, Software: s, Version: s, Fixed: s, FixedURL: s}
		}
	}
	poisonDocuments(snap, s)
}

// empty is a tenant with nothing in it.
func empty() Input {
	return Input{Snapshot: &tenant.Snapshot{Tenant: tenant.Ref{ID: id(kindTenant, 2)}}, Today: today}
}

// unreadable is a tenant of which nothing could be read.
func unreadable() Input {
	const why = "the app lacks a permission"
	return Input{Today: today, NinjaHost: "eu.ninjarmm.com", Standards: tenant.Absent[[]tenant.Standard](why), Snapshot: &tenant.Snapshot{
		Tenant:              tenant.Ref{ID: id(kindTenant, 3), DisplayName: "Quillmark", DefaultDomain: "quillmark.example"},
		Organization:        tenant.Absent[tenant.Organization](why),
		Domains:             tenant.Absent[[]tenant.Domain](why),
		Users:               tenant.Absent[[]tenant.User](why),
		Groups:              tenant.Absent[[]tenant.Group](why),
		Roles:               tenant.Absent[[]tenant.DirectoryRole](why),
		SKUs:                tenant.Absent[[]tenant.SKU](why),
		ManagedDevices:      tenant.Absent[[]tenant.ManagedDevice](why),
		EntraDevices:        tenant.Absent[[]tenant.EntraDevice](why),
		PolicyStates:        tenant.Absent[map[string][]tenant.PolicyState](why),
		AuthorizationPolicy: tenant.Absent[tenant.AuthorizationPolicy](why),
		SecureScore:         tenant.Absent[tenant.SecureScore](why),
		MailboxUsage:        tenant.Absent[[]tenant.MailboxUsage](why),
		OneDriveUsage:       tenant.Absent[[]tenant.OneDriveUsage](why),
		Subscriptions:       tenant.Absent[[]tenant.Subscription](why),
		ConditionalAccess:   tenant.Absent[[]tenant.ConditionalAccessPolicy](why),
		Mailboxes:           tenant.Absent[[]tenant.Mailbox](why),
		CASMailboxes:        tenant.Absent[[]tenant.CASMailbox](why),
		UnifiedAudit:        tenant.Absent[bool](why),
		BlockedSenders:      tenant.Absent[[]string](why),
	}}
}

// shuffle puts every list of the input into another order.
func shuffle(in Input, seed uint64) Input {
	r := rand.New(rand.NewPCG(seed, 1))
	s := in.Snapshot
	mix(r, s.Domains.Value)
	mix(r, s.Users.Value)
	for i := range s.Users.Value {
		mix(r, s.Users.Value[i].Licenses)
	}
	mix(r, s.Groups.Value)
	for i := range s.Groups.Value {
		mix(r, s.Groups.Value[i].Members)
	}
	mix(r, s.Roles.Value)
	for i := range s.Roles.Value {
		mix(r, s.Roles.Value[i].Members)
	}
	mix(r, s.SKUs.Value)
	for i := range s.SKUs.Value {
		mix(r, s.SKUs.Value[i].ServicePlans)
	}
	mix(r, s.ManagedDevices.Value)
	for i := range s.ManagedDevices.Value {
		mix(r, s.ManagedDevices.Value[i].UsersLogged)
	}
	mix(r, s.EntraDevices.Value)
	for _, p := range s.PolicyStates.Value {
		mix(r, p)
		for i := range p {
			mix(r, p[i].Settings)
		}
	}
	mix(r, s.AuthorizationPolicy.Value.UserConsentPolicies)
	mix(r, s.SecureScore.Value.Actions)
	mix(r, s.MailboxUsage.Value)
	mix(r, s.OneDriveUsage.Value)
	mix(r, s.BlockedSenders.Value)
	mix(r, s.Subscriptions.Value)
	mix(r, s.ConditionalAccess.Value)
	mix(r, s.Mailboxes.Value)
	mix(r, s.CASMailboxes.Value)
	for i := range s.Users.Value {
		mix(r, s.Users.Value[i].ProxyAddresses)
	}
	mix(r, in.Standards.Value)
	for i := range in.Standards.Value {
		mix(r, in.Standards.Value[i].Actions)
	}
	mix(r, in.Exposure.Devices)
	for i := range in.Exposure.Devices {
		mix(r, in.Exposure.Devices[i].Worst)
	}
	in = withMatches(in)
	mix(r, in.Matches.Pairs)
	for i := range in.Matches.Pairs {
		mix(r, in.Matches.Pairs[i].Superseded)
	}
	return in
}

func mix[T any](r *rand.Rand, s []T) {
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}
