package documents

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// claims is what is known of whom a document may belong to.
type claims struct {
	tenantID string
	idField  string
	// ours reports whether the tenant has, or had, the user or licence; theirs
	// whether another tenant of the organization may have it.
	ours, theirs func(id string) bool
	// mapped is the user that CIPP's map of the tenant names for a document;
	// taken are the documents that the maps of the organization's other tenants
	// name.
	mapped map[int]string
	taken  map[int]bool
	// known is the document that we remember for a user or licence, 0 for none;
	// remembered is for whom we remember a document.
	known      func(id string) int
	remembered map[int]string
}

// claimed is the document of a user or licence, and further ones about the
// same.
type claimed struct {
	document *ninjaone.Document
	extras   []int
}

// adopt finds, among the documents of a template, the one of each user or
// licence of the tenant. The tenant id and the user or SKU id that the document
// itself carries decide; where one of them is missing, what we remember and
// CIPP's map do; never the name. What belongs to another tenant, or may do so, is left alone.
//
// Of several documents of one user or licence it takes the one that we
// remember, else the oldest.
func adopt(documents []ninjaone.Document, c claims) map[string]claimed {
	// better reports whether a is to be taken rather than b.
	better := func(id string, a, b *ninjaone.Document) bool {
		known := c.known(id)
		switch {
		case a.Archived != b.Archived:
			return b.Archived
		case !a.Archived && (a.ID == known || b.ID == known):
			return a.ID == known
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
	case id == "":
		return mapped
	case !c.ours(id):
		return ""
	case !c.theirs(id) || mapped == id:
		return id
	}
	return ""
}

// named returns the tenant and the user or licence that a document names itself.
// Until March 2026 CIPP wrote a licence's id as the tenant's id and the SKU's.
func (c claims) named(d ninjaone.Document) (tenant, id string) {
	tenant, id = fold(d.Text(compose.FieldTenantID)), fold(d.Text(c.idField))
	owner, sku, both := strings.Cut(id, "_")
	if !both || uuid.Validate(owner) != nil || uuid.Validate(sku) != nil {
		return tenant, id
	}
	return cmp.Or(tenant, owner), sku
}

func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
