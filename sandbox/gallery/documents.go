package gallery

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"cipp-ninjaone/sandbox/ninjasim"
)

// documentsKey begins the key of a tab that lists the documents of a template; the template's id follows.
const documentsKey = "documents-"

// documentRow is a document in a list.
type documentRow struct {
	ninjasim.Document
	Related int // how many things it is related to
}

// related is something that a document or a device is related to. Either of the two may have been
// related to the other.
type related struct {
	Kind, Name, Link string // Link is empty for what has no page here
	Archived         bool
	ByTechnician     bool
}

// documentTabs are a tab for each template with documents of the organization, and the
// current template's documents.
func (g gallery) documentTabs(organizationID int, current string) (tabs []tab, documents []documentRow) {
	all := g.source.Documents(organizationID)
	counts := g.relationCounts()
	for _, template := range g.source.Templates() {
		key := documentsKey + strconv.Itoa(template.ID)
		rows := []documentRow{}
		for _, d := range all {
			if d.TemplateID == template.ID {
				rows = append(rows, documentRow{d, counts[end{"DOCUMENT", d.ID}]})
			}
		}
		if len(rows) == 0 {
			continue
		}
		tabs = append(tabs, tab{template.Name, key, key == current})
		if key == current {
			documents = rows
		}
	}
	return tabs, documents
}

// end is one end of a relation.
type end struct {
	kind string
	id   int
}

func (g gallery) relationCounts() map[end]int {
	counts := map[end]int{}
	for _, r := range g.source.Relations() {
		counts[end{r.EntityType, r.EntityID}]++
		counts[end{r.RelatedType, r.RelatedID}]++
	}
	return counts
}

// relatedTo lists what an entity is related to, in either direction: NinjaOne shows a relation on both its ends.
func (g gallery) relatedTo(organizationID int, kind string, id int) (list []related) {
	devices, documents, templates := map[int]ninjasim.Device{}, map[int]ninjasim.Document{}, map[int]string{}
	for _, d := range g.source.Devices(organizationID) {
		devices[d.ID] = d
	}
	for _, d := range g.source.Documents(organizationID) {
		documents[d.ID] = d
	}
	for _, t := range g.source.Templates() {
		templates[t.ID] = t.Name
	}
	for _, r := range g.source.Relations() {
		other := end{r.RelatedType, r.RelatedID}
		switch (end{kind, id}) {
		case end{r.EntityType, r.EntityID}:
		case end{r.RelatedType, r.RelatedID}:
			other = end{r.EntityType, r.EntityID}
		default:
			continue
		}
		entry := related{Kind: other.kind, Name: strconv.Itoa(other.id), ByTechnician: r.MadeByTechnician}
		if d, ok := devices[other.id]; ok && other.kind == "NODE" {
			entry.Kind, entry.Name, entry.Link = "Device", deviceName(d), devicePath(d)
		}
		if d, ok := documents[other.id]; ok && other.kind == "DOCUMENT" {
			entry.Kind, entry.Name, entry.Link, entry.Archived = templates[d.TemplateID], d.Name, documentPath(d), d.Archived
		}
		if r.Attachment != "" {
			entry.Kind, entry.Name = "File", r.Attachment
		}
		list = append(list, entry)
	}
	slices.SortStableFunc(list, func(a, b related) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return list
}

func organizationPath(id int) string { return "/organizations/" + strconv.Itoa(id) }

func devicePath(d ninjasim.Device) string {
	return organizationPath(d.OrganizationID) + "/devices/" + strconv.Itoa(d.ID)
}

func documentPath(d ninjasim.Document) string {
	return organizationPath(d.OrganizationID) + "/documents/" + strconv.Itoa(d.ID)
}

func (g gallery) document(w http.ResponseWriter, r *http.Request) {
	organization, ok := g.findOrganization(r.PathValue("organization"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	documents := g.source.Documents(organization.ID)
	at := slices.IndexFunc(documents, func(d ninjasim.Document) bool { return strconv.Itoa(d.ID) == r.PathValue("document") })
	if at < 0 {
		http.NotFound(w, r)
		return
	}
	document := documents[at]
	page := struct {
		Title        string
		Organization ninjasim.Organization
		Document     ninjasim.Document
		Template     string
		Related      []related
		fields
	}{
		Title: document.Name, Organization: organization, Document: document,
		Related: g.relatedTo(organization.ID, "DOCUMENT", document.ID),
	}
	for _, template := range g.source.Templates() {
		if template.ID != document.TemplateID {
			continue
		}
		page.Template = template.Name
		for _, item := range template.Items {
			field := ninjasim.CustomField{Name: item.Name, Label: item.Label, Type: item.Type}
			value, ok := g.source.DocumentField(document.ID, item.Name)
			switch {
			case !ok:
			case item.Type == "WYSIWYG":
				page.Rich = append(page.Rich, newRichValue(field, value))
			default:
				page.Text = append(page.Text, newTextValue(field, value))
			}
		}
	}
	show(w, "document.gohtml", page)
}
