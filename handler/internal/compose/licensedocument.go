package compose

import (
	"cmp"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

// LicenseDocuments composes the documents of one tenant's licences, one at a
// time. It is safe for concurrent use.
type LicenseDocuments struct {
	*index
	byID          map[string]*tenant.SKU
	names         map[string]string // by SKU id, unique within the organization
	holders       map[string][]holder
	subscriptions map[string][]*tenant.Subscription
	pages         DocumentPages
}

// holder is a user with a licence.
type holder struct {
	user     *tenant.User
	assigned time.Time
}

// NewLicenseDocuments prepares what the documents of all licences have in
// common. Pages says where the users' documents are; without them the users
// are linked to Entra.
func NewLicenseDocuments(in Input, pages DocumentPages) *LicenseDocuments {
	return newLicenseDocuments(newIndex(in), pages)
}

// LicenseDocuments is NewLicenseDocuments for the same input, without joining
// the parts of the snapshot once more.
func (d *UserDocuments) LicenseDocuments(pages DocumentPages) *LicenseDocuments {
	return newLicenseDocuments(d.index, pages)
}

func newLicenseDocuments(index *index, pages DocumentPages) *LicenseDocuments {
	x := &LicenseDocuments{
		index:         index,
		byID:          map[string]*tenant.SKU{},
		names:         map[string]string{},
		holders:       map[string][]holder{},
		subscriptions: map[string][]*tenant.Subscription{},
		pages:         pages,
	}
	x.nameDocuments()
	for _, u := range x.users {
		assigned := map[string]time.Time{}
		for _, l := range u.Licenses {
			id := fold(l.SKUID)
			if before, has := assigned[id]; !has || l.Assigned.After(before) {
				assigned[id] = l.Assigned
			}
		}
		for id, when := range assigned {
			x.holders[id] = append(x.holders[id], holder{u, when})
		}
	}
	all := distinct(x.snap.Subscriptions.Value, func(s *tenant.Subscription) string { return s.ID }, func(a, b *tenant.Subscription) int {
		return cmp.Or(a.Created.Compare(b.Created), byName(a.ID, b.ID))
	})
	for _, s := range all {
		x.subscriptions[fold(s.SKUID)] = append(x.subscriptions[fold(s.SKUID)], s)
	}
	return x
}

// nameDocuments names each licence's document by its product. It adds as much as makes
// the name unique in the organization.
func (x *LicenseDocuments) nameDocuments() {
	candidates := []func(*tenant.SKU) string{
		func(k *tenant.SKU) string { return clip(x.product(k.ID).name, maxName) },
		func(k *tenant.SKU) string {
			p := x.product(k.ID)
			return text(clip(p.name, maxName) + " " + p.part)
		},
		func(k *tenant.SKU) string { return clip(x.product(k.ID).name, maxName) + " (" + fold(k.ID) + ")" },
	}
	todo := make([]*tenant.SKU, 0, len(x.skus))
	for _, k := range x.skus {
		if fold(k.ID) != "" {
			x.byID[fold(k.ID)] = k
			if !x.excluded(k) {
				todo = append(todo, k)
			}
		}
	}
	for _, name := range candidates {
		same := map[string]int{}
		for _, k := range todo {
			same[fold(name(k))]++
		}
		todo = slices.DeleteFunc(todo, func(k *tenant.SKU) bool {
			unique := same[fold(name(k))] == 1
			if unique {
				x.names[fold(k.ID)] = name(k)
			}
			return unique
		})
	}
	for id, name := range x.names {
		if domain := text(x.snap.Tenant.DefaultDomain); x.in.Shared && domain != "" {
			x.names[id] = name + " - " + domain
		}
	}
}

// IDs returns the SKUs that are to have a document, in lower case and in order
// of name.
func (d *LicenseDocuments) IDs() []string {
	var ids []string
	for _, k := range d.licences() {
		if id := fold(k.ID); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Has reports whether the tenant has the SKU, with a document or without.
func (d *LicenseDocuments) Has(id string) bool { return d.byID[fold(id)] != nil }

// Document composes the document of one of the tenant's SKUs.
func (d *LicenseDocuments) Document(id string) (Document, error) {
	k := d.byID[fold(id)]
	if k == nil {
		return Document{}, d.none("licence", id)
	}
	return d.document(k.ID, d.names[fold(k.ID)], map[string]string{FieldLicenseID: fold(k.ID)}, map[string]page{
		FieldLicenseSummary: {Cards: []card{d.licenceCard(k), d.subscriptionsCard(k), d.servicePlansCard(k)}},
		FieldLicenseUsers:   d.licenceUsers(k),
	}), nil
}

func (d *LicenseDocuments) licenceCard(k *tenant.SKU) card {
	p := d.product(k.ID)
	return card{Width: half, Icon: iconLicence, Title: "Licence", Href: d.links.licences(), CIPP: d.links.inCIPP(cippLicences), Facts: d.shared([]fact{
		{"Name", one(p.name)},
		factText("Part number", k.PartNumber),
		factText("SKU id", k.ID),
		factText("State", readable(k.Status)),
		{"Used", consumed(k)},
		{"Total", total(k)},
		{"Unused", lines(unused(k))},
	})}
}

func (d *LicenseDocuments) subscriptionsCard(k *tenant.SKU) card {
	c := card{Width: half, Icon: "fas fa-file-invoice", Title: "Subscriptions", Href: d.links.subscriptions()}
	if !d.snap.Subscriptions.OK() {
		return c.with(absent(d.snap.Subscriptions.Reason))
	}
	all := d.subscriptions[fold(k.ID)]
	if len(all) == 0 {
		return c.with(one("Microsoft lists no subscription of this licence."))
	}
	c.Table = &table{
		Head: []string{"Quantity", "Created", "Renewal or end", "Trial", "Status"},
		Noun: [2]string{"subscription", "subscriptions"},
		Full: line{Text: "All subscriptions", Href: c.Href},
	}
	for _, s := range all {
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			one(count(s.Total)), one(orElse(date(s.Created), "Not known")), one(orElse(date(s.NextLifecycle), "None")),
			one(yesNo(s.Trial)), one(orElse(readable(s.Status), "Not known")),
		}})
	}
	return c
}

func (d *LicenseDocuments) servicePlansCard(k *tenant.SKU) card {
	c := card{Width: full, Icon: iconStandard, Title: "Service plans", Href: d.links.products()}
	plans := slices.Clone(k.ServicePlans)
	if len(plans) == 0 {
		return c.with(one("The licence contains no service plans."))
	}
	names := map[tenant.ServicePlan]product{}
	for _, p := range plans {
		names[p] = newProduct(d.in.SKUNames[fold(p.ID)], p.Name, p.ID)
	}
	slices.SortFunc(plans, func(a, b tenant.ServicePlan) int {
		return byName(names[a].name, names[b].name, a.Name, b.Name, a.ID, b.ID, a.AppliesTo, b.AppliesTo, a.Status, b.Status)
	})
	c.Table = &table{
		Head: []string{"Service plan", "Applies to", "Status"},
		Noun: [2]string{"service plan", "service plans"},
		Full: line{Text: "Products in Entra", Href: c.Href},
	}
	for _, p := range plans {
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			lines(line{Text: names[p].name, Tail: names[p].part}), one(orElse(readable(p.AppliesTo), "Not known")), one(orElse(readable(p.Status), "Not known")),
		}})
	}
	return c
}

func (d *LicenseDocuments) licenceUsers(k *tenant.SKU) page {
	const title, assigned = "Users", "Assignment last changed"
	if !d.snap.Users.OK() {
		return absentNotice(title, d.snap.Users.Reason)
	}
	all := d.holders[fold(k.ID)]
	var notices []notice
	if why, lost := d.unknown(tenant.DetailLicenses); lost {
		notices = []notice{{Icon: iconUnknown, Title: licencesOfSome, Text: why.Text}}
	}
	if len(all) == 0 {
		if notices != nil {
			return page{Notices: notices}
		}
		return noneNotice(title, "Nobody holds this licence.")
	}
	if why, lost := d.unknown(tenant.DetailAssigned); lost {
		notices = append(notices, notice{Icon: iconUnknown, Title: assigned, Text: why.Text})
	}
	t := &table{
		Head: []string{"Name", "User name", assigned},
		Noun: [2]string{"user", "users"},
		Full: line{Text: "Products in Entra", Href: d.links.products()},
		Rows: make([]row, 0, len(all)),
	}
	for _, h := range all {
		name := d.userLine(h.user)
		if href := d.links.ninjaDocument(d.pages, h.user.ID); href != "" {
			name.Href = href
		}
		t.Rows = append(t.Rows, row{Cells: []cell{
			lines(name), one(orElse(h.user.UserPrincipalName, "–")), one(orElse(date(h.assigned), "Not known")),
		}})
	}
	return page{Notices: notices, Table: t}
}
