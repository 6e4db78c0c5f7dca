package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/documents"
	"cipp-ninjaone/handler/internal/tenantsync"
	"cipp-ninjaone/handler/internal/words"
)

// documentsPage is what a sync would do to documents, as a whole.
type documentsPage struct {
	Title  string // of the link to it
	On     bool   // CIPP's settings ask for documents
	Notes  []string
	Counts []count
	Held   bool
	Rows   []documentRow
}

type documentRow struct {
	documents.PreviewItem
	Kind    string // in words
	State   chip
	Address string // of its page; "" where nothing composed is there
	Note    string
}

// documentPage is one document as it would be written.
type documentPage struct {
	documentRow
	Fields []documentField
}

type documentField struct {
	Title  string
	Name   string // of the template's field
	Frame  string
	Text   string
	Writes bool
}

// documentTitles are the fields of documents by their names, in the order of
// the pages.
var documentTitles = []struct{ name, title string }{
	{compose.FieldUserLinks, "User links"}, {compose.FieldUserSummary, "User summary"}, {compose.FieldUserDevices, "User devices"}, {compose.FieldUserGroups, "User groups"},
	{compose.FieldUserUPN, "User name"}, {compose.FieldUserID, "User id"},
	{compose.FieldLicenseSummary, "Licence summary"}, {compose.FieldLicenseUsers, "Licence users"}, {compose.FieldLicenseID, "Licence id"},
	{compose.FieldTenantID, "Tenant id"},
}

func documentTitle(name string) string {
	for _, f := range documentTitles {
		if f.name == name {
			return f.title
		}
	}
	return map[string]string{"documentName": "Name"}[name]
}

// outcomeWords are the outcomes of documents in the order in which they are
// offered.
var outcomeWords = []struct {
	outcome    documents.Outcome
	class, one string
	many       string
}{
	{documents.OutcomeCreated, "busy", "Would be created", "to create"},
	{documents.OutcomeUpdated, "busy", "Would be changed", "to change"},
	{documents.OutcomeArchived, "warn", "Would be archived", "to archive"},
	{documents.OutcomeRestored, "busy", "Would be restored", "to restore"},
	{documents.OutcomeRefused, "bad", "Refused by NinjaOne", "refused"},
	{documents.OutcomeUnchanged, "good", "Unchanged", "unchanged"},
}

func documentsOf(preview *tenantsync.Preview) documentsPage {
	d := preview.Documents
	if d == nil {
		return documentsPage{Title: "Documents"}
	}
	p := documentsPage{On: true, Notes: slices.Clone(d.Notes), Held: d.Held}
	n := map[documents.Outcome]int{}
	relate, unrelate := 0, d.SurplusRelations
	for _, it := range d.Items {
		n[it.Outcome]++
		relate, unrelate = relate+it.Relate, unrelate+it.Unrelate
	}
	write := n[documents.OutcomeCreated] + n[documents.OutcomeUpdated] + n[documents.OutcomeArchived] + n[documents.OutcomeRestored]
	if d.Held {
		write -= n[documents.OutcomeArchived]
	}
	p.Title = fmt.Sprintf("Documents (%d, %d to write)", len(d.Items), write)
	for _, w := range outcomeWords {
		p.Counts = append(p.Counts, count{w.many, n[w.outcome]})
	}
	p.Counts = append(p.Counts, count{"relations to add", relate}, count{"relations to remove", unrelate})
	if d.Surplus > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s about users or licences that have another one would be archived; the oldest is kept.", plural(d.Surplus, "surplus document", "surplus documents")))
	}
	return p
}

// fillDocuments adds the rows of the table, or the document that is asked for.
func (p *previewPage) fillDocuments(x *exchange, preview *tenantsync.Preview) error {
	choices := []string{"", "All documents", "changes", "Everything that would change"}
	for _, w := range outcomeWords {
		choices = append(choices, string(w.outcome), w.one)
	}
	p.Shows = options(p.Only, choices...)
	if preview.Documents == nil {
		return nil
	}
	wanted := x.value("document")
	for _, it := range preview.Documents.Items {
		row := p.documentRow(x, preview, it)
		if wanted == it.Kind+"-"+it.ID {
			fields, err := p.documentFields(x, preview, it)
			if err != nil {
				return err
			}
			p.Document = &documentPage{row, fields}
			return nil
		}
		changes := it.Outcome != documents.OutcomeUnchanged || it.Relate+it.Unrelate > 0
		if contains(p.Search, it.Name, it.ID) && (p.Only == "" || p.Only == string(it.Outcome) || p.Only == "changes" && changes) {
			p.Documents.Rows = append(p.Documents.Rows, row)
		}
	}
	if wanted != "" {
		return errNoValue
	}
	p.Documents.Rows, p.Pager = paged(x, p.Documents.Rows)
	return nil
}

func (p *previewPage) documentRow(x *exchange, preview *tenantsync.Preview, it documents.PreviewItem) documentRow {
	row := documentRow{PreviewItem: it, Kind: map[string]string{"user": "User", "license": "Licence"}[it.Kind]}
	for _, w := range outcomeWords {
		if w.outcome == it.Outcome {
			row.State = chipOf(w.class, w.one)
		}
	}
	if it.Outcome == documents.OutcomeArchived && preview.Documents.Held {
		row.State = chipOf("warn", "Waits for a confirmation")
	}
	if row.Name == "" {
		row.Name = "Document " + strconv.Itoa(it.Document)
	}
	if it.Outcome != documents.OutcomeArchived {
		row.Address = p.address(x, "preview", "document", it.Kind+"-"+it.ID)
	}
	var notes []string
	switch it.Outcome {
	case documents.OutcomeRefused:
		notes = append(notes, words.Sentence("NinjaOne refused it as it is, so it is not sent before it changes: "+it.Reason))
	case documents.OutcomeArchived:
		notes = append(notes, "Gone from Microsoft 365, or no longer qualifies.")
	case documents.OutcomeUpdated, documents.OutcomeRestored:
		var names []string
		for _, name := range it.Changes {
			names = append(names, documentTitle(name))
		}
		if len(names) > 0 {
			notes = append(notes, "Writes "+strings.ToLower(strings.Join(names, ", "))+".")
		}
	}
	if it.Relate > 0 {
		notes = append(notes, "Adds "+plural(it.Relate, "relation", "relations")+".")
	}
	if it.Unrelate > 0 {
		notes = append(notes, "Removes "+plural(it.Unrelate, "relation", "relations")+".")
	}
	row.Note = strings.Join(notes, " ")
	return row
}

func (p *previewPage) documentFields(x *exchange, preview *tenantsync.Preview, it documents.PreviewItem) ([]documentField, error) {
	doc, err := preview.Documents.Document(it.Kind, it.ID)
	if err != nil {
		return nil, err
	}
	var list []documentField
	for _, f := range documentTitles {
		v, ok := doc.Fields[f.name]
		if !ok {
			continue
		}
		field := documentField{Title: f.title, Name: f.name, Writes: slices.Contains(it.Changes, f.name)}
		if v.IsHTML() {
			field.Frame = p.address(x, "preview/value", "document", it.Kind+"-"+it.ID, "field", f.name)
		} else {
			field.Text = v.String()
		}
		list = append(list, field)
	}
	return list, nil
}

// previewedDocument is a page of a document, named kind-id, as it would be
// written.
func previewedDocument(preview *tenantsync.Preview, document, field string) (title, value string, err error) {
	kind, id, _ := strings.Cut(document, "-")
	if preview.Documents == nil || !slices.ContainsFunc(preview.Documents.Items, func(it documents.PreviewItem) bool {
		return string(it.Kind) == kind && it.ID == id && it.Outcome != documents.OutcomeArchived
	}) {
		return "", "", errNoValue
	}
	doc, err := preview.Documents.Document(kind, id)
	if err != nil {
		return "", "", err
	}
	v, ok := doc.Fields[field]
	if !ok || !v.IsHTML() {
		return "", "", errNoValue
	}
	return documentTitle(field), v.String(), nil
}
