package compose

import (
	"slices"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

// documentPages are the WYSIWYG fields of documents.
var documentPages = map[string]bool{
	FieldUserLinks: true, FieldUserSummary: true, FieldUserDevices: true, FieldUserGroups: true,
	FieldLicenseSummary: true, FieldLicenseUsers: true,
}

// composeDocuments composes the documents of an input's first six users, then
// of its first six licences.
func composeDocuments(t testing.TB, in Input) []Document {
	t.Helper()
	access := tenant.Present(MailboxAccess{AsOf: ago(1), Full: map[string][]string{
		id(kindUser, 1):            {"tobias@larkfield.example", "mira@larkfield.example"},
		"mira@larkfield.example":   {"TOBIAS@larkfield.example", "assistant@larkfield.example"},
		"tobias@larkfield.example": nil,
	}})
	if !in.Snapshot.Mailboxes.OK() {
		access = tenant.Absent[MailboxAccess]("CIPP has not read the mailboxes of this tenant")
	}
	users := NewUserDocuments(in, access)
	pages := DocumentPages{OrganizationID: 7, TemplateID: 3, Documents: map[string]int{}}
	var all []Document
	first := func(ids []string) []string { return ids[:min(len(ids), 6)] }
	for i, id := range first(users.IDs()) {
		d, err := users.Document(id)
		if err != nil {
			t.Fatal(err)
		}
		pages.Documents[id] = 900 + i
		all = append(all, d)
	}
	licences := NewLicenseDocuments(in, pages)
	for _, id := range first(licences.IDs()) {
		d, err := licences.Document(id)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// forDocuments adds to the believable tenant what only documents show.
func forDocuments(s *tenant.Snapshot) {
	u := s.Users.Value
	u[0].JobTitle, u[0].Department, u[0].OfficeLocation = "Senior surveyor", "Survey", "Room 12"
	u[0].MobilePhone, u[0].BusinessPhones = "+44 7700 900123", []string{"+44 1632 960001"}
	u[0].Mail = "mira@larkfield.example"
	u[0].ProxyAddresses = []string{"SMTP:mira@larkfield.example", "smtp:m.sandstrom@larkfield.example", "smtp:sandstrom@larkfield.example", "sip:mira@larkfield.example"}
	u[0].Created, u[0].LastSignIn = time.Date(2021, 3, 9, 7, 0, 0, 0, time.UTC), ago(2)
	u[1].OnPremisesSyncEnabled = true
	s.Subscriptions = tenant.Present([]tenant.Subscription{
		{ID: "s1", SKUID: id(kindSKU, 1), Status: "Enabled", Total: 20, Created: ago(400), NextLifecycle: today.AddDate(0, 1, 0)},
		{ID: "s2", SKUID: id(kindSKU, 1), Status: "Enabled", Total: 5, Created: ago(100), NextLifecycle: today.AddDate(0, 9, 0)},
		{ID: "s3", SKUID: id(kindSKU, 2), Status: "Warning", Total: 2, Trial: true, Created: ago(40)},
	})
	s.ConditionalAccess = tenant.Present([]tenant.ConditionalAccessPolicy{
		{ID: "p1", Name: "Require MFA", State: "enabled", IncludeAll: true, ExcludeUsers: []string{u[2].ID}},
		{ID: "p2", Name: "Admins need a compliant device", State: "enabledForReportingButNotEnforced", IncludeRoles: []string{tenant.GlobalAdministrator}},
		{ID: "p3", Name: "Block guests", State: "enabled", IncludeGuestTypes: []string{"b2bCollaborationGuest"}},
		{ID: "p4", Name: "Surveyors only from Larkfield", State: "disabled", IncludeGroups: []string{id(kindGroup, 4)}},
		{ID: "p5", Name: "Nobody", State: "enabled"},
	})
	s.Mailboxes = tenant.Present([]tenant.Mailbox{
		{UserID: u[0].ID, UserPrincipalName: u[0].UserPrincipalName, Type: "UserMailbox", PrimarySMTPAddress: u[0].UserPrincipalName, LitigationHold: true, ArchiveEnabled: true},
		{UserPrincipalName: u[1].UserPrincipalName, Type: "UserMailbox", PrimarySMTPAddress: u[1].UserPrincipalName, ForwardingSMTPAddress: "smtp:private@elsewhere.example", DeliverAndForward: true},
		{UserID: u[2].ID, UserPrincipalName: u[2].UserPrincipalName, Type: "SharedMailbox", PrimarySMTPAddress: u[2].UserPrincipalName, HiddenFromAddressLists: true, ForwardingAddress: "Mira Sandström", ForwardingSMTPAddress: "smtp:overruled@elsewhere.example"},
	})
	s.CASMailboxes = tenant.Present([]tenant.CASMailbox{
		{UserID: u[0].ID, OWA: true, MAPI: true, EWS: true, ActiveSync: true},
		{UserPrincipalName: u[1].UserPrincipalName, IMAP: true, POP: true},
		{UserID: u[2].ID},
	})
	for i := range s.MailboxUsage.Value {
		s.MailboxUsage.Value[i].Items, s.MailboxUsage.Value[i].LastActivity = int64(512+41_230*i), ago(3)
	}
	s.MailboxUsage.Value[0].WarningQuota = 49 * gb
	s.OneDriveUsage.Value[0].SiteURL = "https://larkfield-my.sharepoint.com/personal/mira_larkfield_example"
	s.OneDriveUsage.Value[0].Files, s.OneDriveUsage.Value[0].LastActivity = 12_345, ago(20)
	s.OneDriveUsage.Value[1].Files = 12
}

// poisonDocuments puts v into every text that only documents show.
func poisonDocuments(s *tenant.Snapshot, v string) {
	for i := range s.Users.Value {
		u := &s.Users.Value[i]
		u.JobTitle, u.Department, u.OfficeLocation, u.MobilePhone = v, v, v, v
		u.BusinessPhones, u.ProxyAddresses = []string{v, v}, []string{"smtp:" + v}
	}
	for i := range s.Subscriptions.Value {
		s.Subscriptions.Value[i].Status = v
	}
	for i := range s.ConditionalAccess.Value {
		s.ConditionalAccess.Value[i].Name += v
	}
	for i := range s.Mailboxes.Value {
		m := &s.Mailboxes.Value[i]
		m.Type, m.ForwardingSMTPAddress, m.PrimarySMTPAddress = v, v, v
		if m.ForwardingAddress != "" {
			m.ForwardingAddress = v
		}
	}
	for i := range s.OneDriveUsage.Value {
		s.OneDriveUsage.Value[i].SiteURL = "https://x.example/" + v
	}
	for i := range s.Groups.Value {
		s.Groups.Value[i].Mail = v
	}
	for i := range s.SKUs.Value {
		for j := range s.SKUs.Value[i].ServicePlans {
			s.SKUs.Value[i].ServicePlans[j].Name += v
		}
	}
}

// documentOf returns the document of a user or SKU.
func documentOf(t *testing.T, in Input, id string) Document {
	t.Helper()
	all := composeDocuments(t, in)
	i := slices.IndexFunc(all, func(d Document) bool { return d.ID == id })
	if i < 0 {
		t.Fatalf("%s has no document", id)
	}
	return all[i]
}
