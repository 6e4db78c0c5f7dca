package console

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
)

type confirmationRow struct {
	ID, Name, Domain string
	Archive, Of      int
	Since            time.Time
	Confirmed        bool
}

type confirmationsPage struct {
	Documents []confirmationRow
	Files     []cveRow // of vulnerabilities
}

// confirmations shows what waits for a confirmation: the archiving of many documents, or
// a much smaller file of vulnerabilities.
func (c *Console) confirmations(x *exchange) error { return c.showConfirmations(x, "") }

func (c *Console) showConfirmations(x *exchange, problem string) error {
	brakes, err := c.Ledger.Brakes(x.ctx())
	if err != nil {
		return err
	}
	tenants, err := c.CIPP.AllTenants(x.ctx())
	if err != nil {
		return err
	}
	files, err := c.CVEFiles.All(x.ctx())
	if err != nil {
		return err
	}
	name := func(id string) (name, domain string) {
		if i := slices.IndexFunc(tenants, func(t cipp.Tenant) bool { return t.ID == id }); i >= 0 {
			return tenantName(tenants[i]), tenants[i].DefaultDomain
		}
		return id, ""
	}
	p := confirmationsPage{}
	for id, b := range brakes {
		row := confirmationRow{ID: id, Archive: b.Archive, Of: b.Of, Since: b.Since, Confirmed: b.Confirmed}
		row.Name, row.Domain = name(id)
		p.Documents = append(p.Documents, row)
	}
	slices.SortFunc(p.Documents, func(a, b confirmationRow) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	for id, s := range files {
		if s.Waits() {
			row := cveRow{ID: id, Base: x.base, Status: s}
			row.Name, row.Domain = name(id)
			p.Files = append(p.Files, row)
		}
	}
	slices.SortFunc(p.Files, func(a, b cveRow) int {
		return cmp.Or(a.WaitingSince.Compare(b.WaitingSince), cmp.Compare(a.ID, b.ID))
	})
	return c.show(x, "confirmations", "Confirmations", problem, p)
}

func (c *Console) confirm(x *exchange) error {
	t, err := c.CIPP.Tenant(x.ctx(), x.value("tenant"))
	if err != nil {
		return c.showConfirmations(x, "Nothing was confirmed: CIPP knows no such tenant.")
	}
	brakes, err := c.Ledger.Brakes(x.ctx())
	if err != nil {
		return err
	}
	brake, ok := brakes[t.ID]
	if !ok {
		return c.showConfirmations(x, "Nothing waits for a confirmation for this tenant any more.")
	}
	if x.value("archive") != strconv.Itoa(brake.Archive) {
		return c.showConfirmations(x, "Nothing was confirmed: the number of documents has changed since the page was read. Look at it again.")
	}
	if err := c.Ledger.Confirm(x.ctx(), t.ID); err != nil {
		return err
	}
	c.audit(x, "the archiving of documents was confirmed", "tenant", t.ID, "documents", brake.Archive)
	c.CIPP.Note(x.ctx(), cipp.LogEntry{Tenant: t.DefaultDomain, TenantID: t.ID, API: cipp.LogbookSync,
		Message: "The archiving of " + plural(brake.Archive, "document", "documents") + " was confirmed."})
	return x.done("confirmations", "confirmed", 0)
}
