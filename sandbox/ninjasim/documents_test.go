package ninjasim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// withDocuments adds two templates and some documents to an instance.
func withDocuments(t *testing.T) *instance {
	t.Helper()
	i := newInstance(t)
	rw := "READ_WRITE"
	i.AddTemplate(Template{ID: 7, Name: "People", AllowMultiple: true, AllTechnicians: true, Roles: []int{3}, Items: []TemplateItem{
		{ElementType: "TITLE", ElementUID: "7c9b1f6e-1111-4222-8333-444455556666", ElementName: "Who"},
		{ID: 70, Name: "userID", Type: "TEXT", APIPermission: rw},
		{ID: 71, Name: "summary", Type: "WYSIWYG", APIPermission: rw, Content: map[string]any{"advancedSettings": map[string]any{"expandLargeValueOnRender": true}}},
		{ID: 72, Name: "private", Type: "TEXT"},
	}})
	i.AddTemplate(Template{ID: 8, Name: "Contract", Items: []TemplateItem{
		{ID: 80, Name: "number", Type: "TEXT", APIPermission: rw, Content: map[string]any{"required": true}},
	}})
	i.AddTemplate(Template{ID: 9, Name: "People", AllowMultiple: true, Archived: true})
	i.AddDocument(Document{ID: 501, OrganizationID: 1, TemplateID: 7, Name: "Ada Example", Fields: map[string]string{"userID": "u-1", "summary": "<p>Ada<script>x</script></p>", "private": "p"}})
	i.AddDocument(Document{ID: 502, OrganizationID: 2, TemplateID: 7, Name: "Bob Example", Fields: map[string]string{"userID": "u-2"}})
	i.AddDocument(Document{ID: 503, OrganizationID: 1, TemplateID: 7, Name: "Cy Example", Archived: true})
	return i
}

func TestBatchesOfDocuments(t *testing.T) {
	const good = `{"organizationId":1,"documentTemplateId":7,"documentName":"Dee Example","fields":{"userID":"u-4","summary":{"html":"<p>Dee</p>"}}}`
	long := strings.Repeat("x", maxText+1)
	tests := []struct {
		name, method, body string
		behaviour          DocumentationBehaviour
		status             int
		code               string
		violation          bool
	}{
		{name: "created", method: "POST", body: "[" + good + "]", status: 200},
		{name: "same name twice", method: "POST", body: "[" + good + "," + good + "]", status: 400, code: "document_exists"},
		{name: "same name twice, taken", method: "POST", body: "[" + good + "," + good + "]", behaviour: DocumentationBehaviour{DuplicateNames: true}, status: 200},
		{name: "name in another case", method: "POST", body: "[" + good + "," + strings.Replace(good, "Dee Example", "DEE example ", 1) + "]", status: 200},
		{name: "name in another case, refused", method: "POST", body: "[" + good + "," + strings.Replace(good, "Dee Example", "DEE example ", 1) + "]", behaviour: DocumentationBehaviour{LooseNames: true}, status: 400, code: "document_exists"},
		{name: "name of an archived one", method: "PATCH", body: `[{"documentId":501,"documentName":"Cy Example"}]`, status: 200},
		{name: "name of an archived one, refused", method: "PATCH", body: `[{"documentId":501,"documentName":"Cy Example"}]`, behaviour: DocumentationBehaviour{ArchivedNames: true}, status: 400, code: "document_exists"},
		{name: "its own name", method: "PATCH", body: `[{"documentId":501,"documentName":"Ada Example","fields":{"userID":"u-9"}}]`, status: 200},
		{name: "organization as text", method: "POST", body: `[{"organizationId":"1","documentTemplateId":7,"documentName":"Dee"}]`, status: 400, violation: true},
		{name: "unknown member", method: "POST", body: `[{"organizationId":1,"documentTemplateId":7,"documentName":"Dee","templateId":7}]`, status: 400, violation: true},
		{name: "fields as a list", method: "POST", body: `[{"organizationId":1,"documentTemplateId":7,"documentName":"Dee","fields":[]}]`, status: 400, violation: true},
		{name: "empty batch", method: "POST", body: `[]`, status: 400, violation: true},
		{name: "unknown organization", method: "POST", body: "[" + good + `,{"organizationId":99,"documentTemplateId":7,"documentName":"Eve"}]`, status: 400, code: "organization_not_found"},
		{name: "unknown template", method: "POST", body: "[" + good + `,{"organizationId":1,"documentTemplateId":99,"documentName":"Eve"}]`, status: 400, code: "document_template_not_found"},
		{name: "archived template", method: "POST", body: `[{"organizationId":1,"documentTemplateId":9,"documentName":"Eve"}]`, status: 400, code: "document_template_not_found"},
		{name: "no name", method: "POST", body: "[" + good + `,{"organizationId":1,"documentTemplateId":7}]`, status: 400, code: "invalid_document"},
		{name: "unknown field", method: "POST", body: "[" + good + `,{"organizationId":1,"documentTemplateId":7,"documentName":"Eve","fields":{"nope":"x"}}]`, status: 400, code: "document_field_not_found"},
		{name: "field not writable", method: "POST", body: `[{"organizationId":1,"documentTemplateId":7,"documentName":"Eve","fields":{"private":"x"}}]`, status: 400, code: "document_field_not_writable"},
		{name: "text too long", method: "POST", body: "[" + good + `,{"organizationId":1,"documentTemplateId":7,"documentName":"Eve","fields":{"userID":"` + long + `"}}]`, status: 400, code: "invalid_value"},
		{name: "markup as text", method: "POST", body: `[{"organizationId":1,"documentTemplateId":7,"documentName":"Eve","fields":{"summary":"<p>"}}]`, status: 400, code: "invalid_value"},
		{name: "required field missing", method: "POST", body: `[{"organizationId":1,"documentTemplateId":8,"documentName":"Eve"}]`, status: 400, code: "required_field_missing"},
		{name: "one document in an organization", method: "POST", body: `[{"organizationId":1,"documentTemplateId":8,"documentName":"A","fields":{"number":"1"}},{"organizationId":1,"documentTemplateId":8,"documentName":"B","fields":{"number":"2"}}]`, status: 400, code: "document_exists"},
		{name: "one in each organization", method: "POST", body: `[{"organizationId":1,"documentTemplateId":8,"documentName":"A","fields":{"number":"1"}},{"organizationId":2,"documentTemplateId":8,"documentName":"A","fields":{"number":"2"}}]`, status: 200},
		{name: "too many", method: "POST", body: "[" + good + "," + good + "]", behaviour: DocumentationBehaviour{MaxBatch: 1}, status: 400, code: "too_many_documents"},
		{name: "too large", method: "POST", body: "[" + good + "]", behaviour: DocumentationBehaviour{MaxBytes: 50}, status: 413},
		{name: "changed", method: "PATCH", body: `[{"documentId":501,"documentName":"Ada Sample","fields":{"summary":null}},{"documentId":502,"fields":{"userID":"u-9"}}]`, status: 200},
		{name: "change of an unknown one", method: "PATCH", body: `[{"documentId":501,"documentName":"Ada Sample"},{"documentId":99}]`, status: 404},
		{name: "change of an archived one", method: "PATCH", body: `[{"documentId":501,"documentName":"Ada Sample"},{"documentId":503}]`, status: 400, code: "document_archived"},
		{name: "changed twice", method: "PATCH", body: `[{"documentId":501},{"documentId":501}]`, status: 400, code: "invalid_document"},
		{name: "name taken away", method: "PATCH", body: `[{"documentId":501,"documentName":""}]`, status: 400, code: "invalid_document"},
		{name: "change with an unknown field", method: "PATCH", body: `[{"documentId":502,"fields":{"userID":"u-9"}},{"documentId":501,"fields":{"nope":"x"}}]`, status: 400, code: "document_field_not_found"},
		{name: "change names a template", method: "PATCH", body: `[{"documentId":501,"documentTemplateId":7}]`, status: 400, violation: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := withDocuments(t)
			i.SetDocumentationBehaviour(tt.behaviour)
			before := fmt.Sprint(i.Documents(1), i.Documents(2))
			a := i.send(tt.method, "/v2/organization/documents", tt.body)
			if a.status != tt.status || tt.code != "" && !strings.Contains(string(a.body), tt.code) {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if written := fmt.Sprint(i.Documents(1), i.Documents(2)) != before; written != (tt.status == 200) || (len(i.DocumentWrites()) > 0) != written {
				t.Errorf("written: %v, %v", written, i.DocumentWrites())
			}
			if (len(i.Violations()) > 0) != tt.violation || (len(i.Refusals()) > 0) != (tt.status != 200) {
				t.Errorf("violations %v, refusals %v", i.Violations(), i.Refusals())
			}
		})
	}
}

// TestNamesChangeHands: within a batch a name can be had once the one before gave it up.
func TestNamesChangeHands(t *testing.T) {
	for body, status := range map[string]int{
		`[{"documentId":501,"documentName":"Ada Sample"},{"documentId":505,"documentName":"Ada Example"}]`:  200,
		`[{"documentId":501,"documentName":"Fay Example"},{"documentId":505,"documentName":"Ada Example"}]`: 400,
		`[{"documentId":501,"documentName":"Gil Example"},{"documentId":505,"documentName":"Gil Example"}]`: 400,
	} {
		i := withDocuments(t)
		i.AddDocument(Document{ID: 505, OrganizationID: 1, TemplateID: 7, Name: "Fay Example"})
		if a := i.send("PATCH", "/v2/organization/documents", body); a.status != status {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestArchiveRestore(t *testing.T) {
	i := withDocuments(t)
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v2/organization/documents/archive", "[501,502]", 200},
		{"POST", "/v2/organization/documents/archive", "[501]", 400},
		{"POST", "/v2/organization/documents/archive", "[501,501]", 400},
		{"POST", "/v2/organization/documents/restore", "[502,99]", 404},
		{"POST", "/v2/organization/documents/restore", "[502]", 200},
		{"POST", "/v2/organization/document/502/archive", "", 200},
		{"POST", "/v2/organization/document/502/restore", "", 200},
		{"POST", "/v2/organization/document/502/restore", "", 400},
	} {
		if a := i.send(step.method, step.path, step.body); a.status != step.status {
			t.Errorf("%s %s %s: %d %s", step.method, step.path, step.body, a.status, a.body)
		}
	}
	if one, two := i.Documents(1), i.Documents(2); len(one) != 2 || !one[0].Archived || len(two) != 1 || two[0].Archived {
		t.Errorf("documents %v, %v", one, two)
	}
	var actions []string
	for _, w := range i.DocumentWrites() {
		actions = append(actions, fmt.Sprint(w.Action, " ", w.ID))
	}
	i.SetDocumentationBehaviour(DocumentationBehaviour{RestoreLive: true})
	before := len(i.DocumentWrites())
	if a := i.send("POST", "/v2/organization/documents/restore", "[502]"); a.status != 200 || len(i.DocumentWrites()) != before {
		t.Errorf("a live document restored: %d %s, %v", a.status, a.body, i.DocumentWrites())
	}
	want := []string{"archived 501", "archived 502", "restored 502", "archived 502", "restored 502"}
	if !slices.Equal(actions, want) {
		t.Errorf("changes %v", actions)
	}
}
