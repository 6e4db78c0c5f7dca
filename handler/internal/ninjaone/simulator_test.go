package ninjaone_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/sandbox/ninjasim"
)

// against starts a strict instance with one organization and device, and returns a client of it. The client must not break
// the published contract.
func against(t *testing.T) (*ninjasim.Server, *ninjaone.Client) {
	t.Helper()
	sim := ninjasim.New(ninjasim.Config{ClientID: "app", ClientSecret: "not-a-real-secret"})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if v := sim.Violations(); len(v) > 0 {
			t.Errorf("violations of the contract: %v", v)
		}
		_ = sim.Close()
	})
	sim.AddOrganization(ninjasim.Organization{ID: 3, Name: "Contoso"})
	sim.AddDevice(ninjasim.Device{ID: 31, OrganizationID: 3, SystemName: "CON-01"})
	calls := ninjaonetest.Deps(sim.URL(), ninjaonetest.Secret("not-a-real-secret"))
	calls.ClientID = "app"
	c, err := ninjaone.New(calls)
	if err != nil {
		t.Fatal(err)
	}
	return sim, c
}

var fields = []ninjaone.TemplateField{
	{Name: "userID", Label: "User ID", Type: ninjaone.TypeText, TechnicianPermission: ninjaone.PermissionReadOnly, ScriptPermission: ninjaone.PermissionNone, APIPermission: ninjaone.PermissionReadWrite},
	{Name: "summary", Label: "Summary", Type: ninjaone.TypeWYSIWYG, TechnicianPermission: ninjaone.PermissionReadOnly, ScriptPermission: ninjaone.PermissionNone, APIPermission: ninjaone.PermissionReadWrite, Expanded: true},
}

func person(template, n int) ninjaone.NewDocument {
	return ninjaone.NewDocument{
		OrganizationID: 3, TemplateID: template, Name: fmt.Sprintf("Person %d", n),
		Fields: ninjaone.Fields{"userID": ninjaone.Text(fmt.Sprintf("u-%d", n)), "summary": ninjaone.HTML("<p>ä & b</p>")},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestDocumentsThroughTheirLife(t *testing.T) {
	sim, c := against(t)
	ctx := t.Context()
	if list := must[[]ninjaone.Template](t)(c.Templates(ctx)); len(list) != 0 {
		t.Fatalf("templates %v", list)
	}
	people := must[ninjaone.Template](t)(c.CreateTemplate(ctx, ninjaone.Template{Name: "People", AllowMultiple: true, Fields: fields}))

	made := must[[]ninjaone.Document](t)(c.CreateDocuments(ctx, []ninjaone.NewDocument{person(people.ID, 1), person(people.ID, 2)}))
	query := ninjaone.DocumentQuery{OrganizationID: 3, TemplateIDs: []int{people.ID}, Fields: []string{"userID"}}
	read := must[[]ninjaone.Document](t)(c.Documents(ctx, query))
	if len(made) != 2 || len(read) != 2 || read[0].Text("userID") != "u-1" || made[1].ID != read[0].ID || made[1].Text("userID") != "u-1" {
		t.Fatalf("made %v, read %v", made, read)
	}
	first, second := read[0].ID, read[1].ID

	changed := must[[]ninjaone.Document](t)(c.UpdateDocuments(ctx, []ninjaone.DocumentUpdate{{ID: first, Name: "Person One", Fields: ninjaone.Fields{"userID": ninjaone.Text("u-9"), "summary": ninjaone.Clear()}}}))
	if len(changed) != 1 || changed[0].Name != "Person One" || changed[0].Text("userID") != "u-9" {
		t.Errorf("changed %v", changed)
	}

	device := ninjaone.Entity{Type: ninjaone.EntityDevice, ID: 31}
	document := func(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDocument, ID: id} }
	added := must[[]ninjaone.Relation](t)(c.AddRelations(ctx, device, []ninjaone.Entity{document(first), document(second)}))
	all := func(ninjaone.Relation) bool { return true }
	ofType := must[[]ninjaone.Relation](t)(c.RelationsOfType(ctx, ninjaone.EntityDevice, all))
	if !slices.Equal(added, ofType) || len(added) != 2 {
		t.Errorf("relations %v, %v", added, ofType)
	}
	for range 2 {
		if err := c.DeleteRelation(ctx, added[0].ID); err != nil {
			t.Error(err)
		}
	}
	if left := must[[]ninjaone.Relation](t)(c.RelationsOf(ctx, document(second))); !slices.Equal(left, added[1:]) {
		t.Errorf("relations left: %v", left)
	}

	if refused, err := c.ArchiveDocuments(ctx, []int{first, second, 999}); err != nil || len(refused) != 1 || !errors.Is(refused[999], ninjaone.ErrNotFound) {
		t.Errorf("refused %v, %v", refused, err)
	}
	if left := must[[]ninjaone.Document](t)(c.Documents(ctx, query)); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	for n, ids := range [][]int{{second, first}, {first}} { // both at once, and one alone
		if refused, err := c.RestoreDocuments(ctx, ids); err != nil || len(refused) != 0 {
			t.Errorf("refused %v, %v", refused, err)
		}
		if back := must[[]ninjaone.Document](t)(c.Documents(ctx, query)); len(back) != 2-n || back[0].ID != first {
			t.Errorf("back %v", back)
		}
		if refused, err := c.ArchiveDocuments(ctx, []int{first, second}[:2-2*n]); err != nil || len(refused) != 0 {
			t.Errorf("refused %v, %v", refused, err)
		}
	}
	if n := len(sim.Relations()); n != 1 {
		t.Errorf("%d relations", n)
	}
}

func TestMissingFieldsAreAddedToATechniciansTemplate(t *testing.T) {
	sim, c := against(t)
	id := sim.AddTemplate(ninjasim.Template{Name: "People", Description: "ours", AllowMultiple: true, Mandatory: true, Roles: []int{4}, Items: []ninjasim.TemplateItem{
		{ElementType: "TITLE", ElementUID: "7c9b1f6e-1111-4222-8333-444455556666", ElementName: "Who", ElementValue: "<b>"},
		{Name: "colour", Type: "DROPDOWN", TechnicianPermission: "EDITABLE", Content: map[string]any{"values": []any{map[string]any{"name": "red"}}, "required": false}},
		{Name: "userID", Type: "TEXT", APIPermission: "READ_WRITE"},
	}})
	before := sim.Templates()[0]
	read := must[[]ninjaone.Template](t)(c.Templates(t.Context()))
	merged, added := read[0].WithFields(fields)
	if again, more := merged.WithFields(fields); len(more) > 0 || len(again.Fields) != 4 || len(read[0].Fields) != 3 {
		t.Errorf("added %v again to %v", more, read[0].Fields)
	}
	updated := must[ninjaone.Template](t)(c.UpdateTemplate(t.Context(), merged))
	after := sim.Templates()[0]
	if updated.ID != id || !slices.Equal(added, []string{"summary"}) || len(after.Items) != 4 {
		t.Fatalf("added %v: %+v", added, after)
	}
	summary := after.Items[3]
	if summary.ID == 0 || summary.Type != "WYSIWYG" || summary.APIPermission != "READ_WRITE" || fmt.Sprint(summary.Content["advancedSettings"]) != "map[expandLargeValueOnRender:true]" {
		t.Errorf("added %+v", summary)
	}
	after.Items = after.Items[:3]
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("changed beyond that\n%v\n%v", before, after)
	}
}
