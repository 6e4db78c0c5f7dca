package documents

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// claims is what is known of whom a document may belong to.
type claims struct {
	tenantID string
	idField  string
	// Whether the tenant has, or had, the user or licence, and whether another of the
	// organization may.
	ours, theirs func(id string) bool
	// The user that CIPP's map of the tenant names for a document is mapped. The maps of
	// the organization's other tenants name the documents in taken.
	mapped     map[int]string
	taken      map[int]bool
	remembered map[int]string // for whom we remember a document
	// The SKU that CIPP's map of the tenant's licences names for a document is listed.
	// The maps of the organization's others name those in listedElsewhere.
	listed          map[int]string
	listedElsewhere map[int]bool
	// licences tells that the documents are about licences. A SKU id is the same in
	// every tenant, so that their relations say whose they are: kin.
	licences bool
	kin      map[int]kin
	alone    bool // no other tenant shows itself in the organization
}

// kin is whose users' documents a licence's document is related to.
type kin int

const (
	kinNone   kin = iota // to none
	kinOurs              // to the tenant's alone
	kinOthers            // to others' too
)

// claimed is the document of a user or licence, and further ones about the
// same.
type claimed struct {
	document *ninjaone.Document
	extras   []int
}

// adopt finds, among the documents of a template, the one of each user or licence of the
// tenant. The tenant id and the user or SKU id in the document decide. Where one is
// missing, what we remember and CIPP's map decide, and for a licence the document's
// relations. The name never does. What may belong to another tenant is left alone.
//
// Of several documents of one user or licence, adopt takes the one that we remember,
// else the oldest.
func adopt(documents []ninjaone.Document, c claims) map[string]claimed {
	// better reports whether a should win over b.
	better := func(id string, a, b *ninjaone.Document) bool {
		known := c.remembered[a.ID] == id
		switch {
		case a.Archived != b.Archived:
			return b.Archived
		case !a.Archived && known != (c.remembered[b.ID] == id):
			return known
		}
		return a.ID < b.ID
	}
	result := make(map[string]claimed, len(documents))
	for i := range documents {
		d := &documents[i]
		id := c.owner(*d)
		if id == "" {
			continue
		}
		one, found := result[id]
		switch {
		case !found:
			one.document = d
		case better(id, d, one.document):
			d, one.document = one.document, d
			fallthrough
		default:
			if !d.Archived {
				one.extras = append(one.extras, d.ID)
			}
		}
		result[id] = one
	}
	for _, one := range result {
		slices.Sort(one.extras)
	}
	return result
}

// owner returns whose document of the tenant it is; "" when it is not, or not
// for certain, the tenant's.
func (c claims) owner(d ninjaone.Document) string {
	tenant, id := c.named(d)
	mapped := c.mapped[d.ID]
	if c.taken[d.ID] {
		mapped = ""
	}
	switch {
	case tenant == c.tenantID && id != "" && (c.remembered[d.ID] == "" || c.ours(id)):
		return id
	case tenant != "" && tenant != c.tenantID:
		return ""
	case c.remembered[d.ID] != "":
		return c.remembered[d.ID]
	// CIPP matched licences by name first, so that two tenants' maps may name one
	// document: then they say nothing.
	case id != "" && c.listed[d.ID] == id && !c.listedElsewhere[d.ID]:
		return id
	case c.listedElsewhere[d.ID] && c.listed[d.ID] == "":
		return ""
	case id == "":
		return mapped
	case c.licences && c.licence(d.ID, id):
		return id
	case !c.ours(id):
		return ""
	case !c.theirs(id) || mapped == id:
		return id
	}
	return ""
}

// licence reports whether a licence's document that names no tenant belongs to the
// tenant. The tenant may have had the licence in the past.
func (c claims) licence(document int, sku string) bool {
	return c.kin[document] == kinOurs || c.kin[document] == kinNone && c.alone && !c.theirs(sku)
}

// named returns the tenant and the user or licence that a document names itself.
// Until March 2026 CIPP wrote a licence's id as the tenant's id and the SKU's.
func (c claims) named(d ninjaone.Document) (tenant, id string) {
	tenant, id = guid.Fold(d.Text(compose.FieldTenantID)), guid.Fold(d.Text(c.idField))
	owner, sku, both := strings.Cut(id, "_")
	if !both || uuid.Validate(owner) != nil || uuid.Validate(sku) != nil {
		return tenant, id
	}
	return cmp.Or(tenant, owner), sku
}

// claims gathers what decides whose a document is.
func (r *run) claims(ctx context.Context, sec *section) (claims, error) {
	m, err := r.readMaps(ctx)
	if err != nil {
		return claims{}, err
	}
	c := claims{
		tenantID: r.tenantID, idField: sec.idField, remembered: map[int]string{},
		licences: sec.kind == ledger.KindLicense, alone: len(r.in.Sharing) <= 1 && !r.progress.Unowned[ledger.KindUser] && (r.users == nil || !r.users.blocked),
		// A SKU id is the same in every tenant. So a licence's document that names no tenant may
		// belong to any tenant that may have the licence.
		theirs: func(id string) bool {
			return m.theirs[ledger.Subject{Kind: sec.kind, ID: id}] || sec.kind == ledger.KindLicense && m.unread
		},
		ours: func(id string) bool {
			return sec.Has(id) || r.records[ledger.Subject{Kind: sec.kind, ID: id}] != nil || sec.kind == ledger.KindUser && m.own[id] != 0
		},
	}
	for s, rec := range r.records {
		if s.Kind == sec.kind && rec.DocumentID != 0 {
			c.remembered[rec.DocumentID] = s.ID
		}
	}
	if sec.kind == ledger.KindLicense {
		c.listed, c.listedElsewhere = m.licences, m.licencesElsewhere
	}
	if sec.kind == ledger.KindUser {
		c.taken, c.mapped = m.taken, make(map[int]string, len(m.own))
		for _, user := range slices.Sorted(maps.Keys(m.own)) {
			c.mapped[m.own[user]] = user
		}
	}
	return c, nil
}

// findKin finds whose users' documents a licence's document is related to, where neither
// it nor its SKU tells the tenant. For such documents alone it reads the relations of
// documents, in one call. A failed call is an error only if such a document might be
// created once more.
func (r *run) findKin(ctx context.Context, c *claims, documents []ninjaone.Document) error {
	nameless, wanted := map[int]bool{}, false
	for _, d := range documents {
		tenant, sku := c.named(d)
		if ours := c.ours(sku); c.licences && tenant == "" && sku != "" && c.remembered[d.ID] == "" && c.listed[d.ID] != sku && !d.Archived && (!ours || c.theirs(sku)) {
			nameless[d.ID], wanted = true, wanted || ours
		}
	}
	if len(nameless) == 0 {
		return nil
	}
	m, err := r.readMaps(ctx)
	if err != nil {
		return err
	}
	ours, users := map[int]bool{}, map[int]bool{}
	for s, rec := range r.records {
		ours[rec.DocumentID] = ours[rec.DocumentID] || s.Kind == ledger.KindUser
	}
	for _, document := range m.own {
		ours[document] = ours[document] || !m.taken[document]
	}
	maps.Copy(users, m.taken)
	if r.users != nil {
		maps.Copy(ours, r.users.extras)
		for document := range r.users.present {
			users[document] = true
		}
	}
	c.kin = map[int]kin{}
	_, err = r.in.Client.RelationsOfType(ctx, ninjaone.EntityDocument, func(n ninjaone.Relation) bool {
		switch id := n.Related.ID; {
		case !nameless[n.Host.ID] || n.Related.Type != ninjaone.EntityDocument:
		case !ours[id] && users[id]:
			c.kin[n.Host.ID] = kinOthers
		case ours[id]:
			c.kin[n.Host.ID] = max(c.kin[n.Host.ID], kinOurs)
		}
		return false
	})
	if err != nil && ninjaone.Tolerable(ctx, err) && !wanted {
		c.kin, c.alone, err = nil, false, nil
	}
	return err
}

// userMaps are the rows of CIPP's NinjaOneUserMap and NinjaOneLicenseMap about the
// organization's tenants. They also hold what the other tenants are known to have.
type userMaps struct {
	own    map[string]int // user to document
	taken  map[int]bool   // documents of other tenants' users
	theirs map[ledger.Subject]bool
	unread bool // another tenant's licences are not known

	licences          map[int]string // the tenant's: document to SKU
	licencesElsewhere map[int]bool   // documents of other tenants' licences
}

func (r *run) readMaps(ctx context.Context) (*userMaps, error) {
	if r.maps != nil {
		return r.maps, nil
	}
	m := &userMaps{taken: map[int]bool{}, theirs: map[ledger.Subject]bool{}, licences: map[int]string{}, licencesElsewhere: map[int]bool{}}
	for _, id := range r.in.Sharing {
		mapped, err := r.CIPP.UserMap(ctx, id)
		if err != nil {
			return nil, err
		}
		skus, err := r.CIPP.LicenseMap(ctx, id)
		if err != nil {
			return nil, err
		}
		if guid.Fold(id) == r.tenantID {
			m.own = mapped
			for sku, document := range skus {
				m.licences[document] = sku
			}
			continue
		}
		for _, document := range skus {
			m.licencesElsewhere[document] = true
		}
		for user, document := range mapped {
			m.taken[document], m.theirs[ledger.Subject{Kind: ledger.KindUser, ID: user}] = true, true
		}
		subjects, read, err := r.ledgerOf(guid.Fold(id)).Subjects(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range subjects {
			m.theirs[s] = true
		}
		m.unread = m.unread || !read[ledger.KindLicense]
	}
	r.maps = m
	return m, nil
}

// take notes that a document is about a user or licence. We remembered it for holder; ""
// is for nobody.
func (r *run) take(sec *section, id string, d ninjaone.Document, holder string) {
	rec := r.record(sec.kind, id)
	if before := r.records[ledger.Subject{Kind: sec.kind, ID: holder}]; before != nil && before != rec && before.DocumentID == d.ID {
		// The document says by now that it is about somebody else.
		rec.Reset()
		rec.Relations, rec.DocumentID = before.Relations, d.ID
		before.Reset()
		r.touch(before, rec)
	}
	switch {
	case rec.DocumentID == d.ID:
		if d.Archived && !rec.Archived {
			rec.Archived = true
			r.touch(rec)
		}
		r.compare(sec, rec, d)
		return
	case !rec.Pending(): // else it was created, and the answer was lost
		rec.Reset() // a document that we did not write, or not last
		rec.Fields.Set(ledger.NameField, digestOf(d.Name))
		if d.Text(compose.FieldTenantID) == "" && sec.kind == ledger.KindLicense {
			rec.Name = words.Clip(d.Name, maxLicenceName)
		}
	}
	rec.DocumentID, rec.Archived = d.ID, d.Archived
	r.touch(rec)
}

// maxLicenceName is how much is kept of the name of an adopted document.
const maxLicenceName = 200

// nameLicences names licences whose name nobody gives as their documents were named
// before. It composes with those names, so a part number never replaces a name.
func (r *run) nameLicences() {
	if r.licenses == nil {
		return
	}
	names := map[string]string{}
	maps.Copy(names, r.in.Compose.SKUNames)
	learnt := false
	for _, sku := range r.in.Compose.Snapshot.SKUs.Value {
		rec := r.records[ledger.Subject{Kind: ledger.KindLicense, ID: guid.Fold(sku.ID)}]
		switch {
		case rec == nil:
		case names[rec.ID] != "" && rec.Name != names[rec.ID]:
			rec.Name = names[rec.ID]
			r.touch(rec)
		case names[rec.ID] == "" && rec.Name != "" && !strings.EqualFold(rec.Name, sku.PartNumber):
			names[rec.ID], learnt = rec.Name, true
		}
	}
	if !learnt {
		return
	}
	r.in.Compose.SKUNames = names
	if r.people != nil {
		r.people = compose.NewUserDocuments(r.in.Compose, r.access)
		r.users.subjects = r.people
	}
	r.composeLicenses()
	r.licenses.subjects = r.skus
}

// compare notes what somebody changed in a document since: its name, or the ids
// that say whose it is. What its pages say cannot be compared, since NinjaOne
// answers them as it cleaned them.
func (r *run) compare(sec *section, rec *ledger.Document, d ninjaone.Document) {
	if name := digestOf(d.Name); rec.Fields.Get(ledger.NameField) != name {
		rec.Fields.Set(ledger.NameField, name)
		r.touch(rec)
	}
	for field, want := range map[string]string{sec.idField: rec.ID, compose.FieldTenantID: r.tenantID} {
		if guid.Fold(d.Text(field)) != want && rec.Fields.Get(field) != ledger.Unknown {
			rec.Fields.Set(field, ledger.Unknown)
			r.touch(rec)
		}
	}
}
