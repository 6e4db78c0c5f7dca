package compose

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Fields of the documents. The names are CIPP's, except FieldTenantID, which
// is ours and of both templates.
const (
	FieldTenantID = "cippTenantID" // TEXT

	FieldUserLinks   = "cippUserLinks"   // WYSIWYG
	FieldUserSummary = "cippUserSummary" // WYSIWYG
	FieldUserDevices = "cippUserDevices" // WYSIWYG
	FieldUserGroups  = "cippUserGroups"  // WYSIWYG
	FieldUserID      = "cippUserID"      // TEXT, the Entra object id
	FieldUserUPN     = "cippUserUPN"     // TEXT

	FieldLicenseSummary = "cippLicenseSummary" // WYSIWYG
	FieldLicenseUsers   = "cippLicenseUsers"   // WYSIWYG
	FieldLicenseID      = "cippLicenseID"      // TEXT, the SKU id
)

// Document is the composed content of one NinjaOne document.
type Document struct {
	ID     string // of the user or SKU it is about, in lower case
	Name   string
	Fields ninjaone.Fields // every field of the document's template that is ours
}

// MailboxAccess says who may open a mailbox, as CIPP's cache has it.
type MailboxAccess struct {
	Full map[string][]string // mailbox (user id or address, in lower case) to the accounts with full access
	AsOf time.Time           // when CIPP last wrote it; zero when it is not known
}

// maxName is the longest display name in a document's name, in runes. NinjaOne
// documents no limit of a document's name.
const maxName = 150

// document composes a document of its texts and pages.
func (x *index) document(id, name string, texts map[string]string, pages map[string]page) Document {
	d := Document{ID: fold(id), Name: name, Fields: ninjaone.Fields{FieldTenantID: textValue(fold(x.snap.Tenant.ID))}}
	for field, text := range texts {
		d.Fields[field] = textValue(text)
	}
	for field, p := range pages {
		d.Fields[field] = ninjaone.HTML(p.html())
	}
	return d
}

// none is the error of a document of somebody or something that the tenant does not have.
func (x *index) none(what, id string) error {
	return fmt.Errorf("tenant %s has no %s %s", cmp.Or(x.snap.Tenant.DefaultDomain, x.snap.Tenant.ID), what, id)
}

// shared adds to the facts of a document which tenant it is of, where several share an
// organization.
func (x *index) shared(facts []fact) []fact {
	if !x.in.Shared {
		return facts
	}
	return append([]fact{factText("Tenant", x.tenantName())}, facts...)
}

// textValue is the value of a TEXT field, cut to what NinjaOne takes.
func textValue(s string) ninjaone.Value {
	s = text(s)
	for ninjaone.JSONLength(s) > ninjaone.MaxText {
		runes := []rune(s)
		s = string(runes[:len(runes)-1])
	}
	return ninjaone.Text(s)
}

// roughly words a number of things that changes every day. A negative one is unknown.
func roughly(n int64) string {
	switch {
	case n < 0:
		return "Not known"
	case n == 0:
		return "None"
	case n < 1000:
		return "Fewer than 1,000"
	}
	step := int64(100)
	for n/step >= 100 {
		step *= 10
	}
	return "About " + count(int(n/step*step))
}

// DocumentPages locates documents of one template in NinjaOne, for links.
type DocumentPages struct {
	OrganizationID int
	TemplateID     int
	Documents      map[string]int // user id in lower case to document id
}

// ninjaDocument is the NinjaOne page of a user's document.
func (l links) ninjaDocument(pages DocumentPages, userID string) link {
	id := pages.Documents[fold(userID)]
	if id == 0 {
		return ""
	}
	return address{host: l.ninja, path: []string{""}, fragment: []string{
		"", "customerDashboard", strconv.Itoa(pages.OrganizationID),
		"documentation", "appsAndServices", strconv.Itoa(pages.TemplateID), strconv.Itoa(id),
	}}.url()
}

// absentNotice stands where a document's table would be.
func absentNotice(title, reason string) page {
	return page{Notices: []notice{{Class: "warning", Icon: iconUnknown, Title: title, Text: unavailable(reason)}}}
}

// noneNotice stands where a document's table would be empty.
func noneNotice(title, text string) page {
	return page{Notices: []notice{{Icon: iconInfo, Title: title, Text: text}}}
}
