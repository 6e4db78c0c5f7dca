package ninjasim

import (
	"slices"
	"testing"
)

// withRelations adds relations, an attachment and a licence's document to an instance.
func withRelations(t *testing.T) *instance {
	t.Helper()
	i := withDocuments(t)
	i.AddDocument(Document{ID: 601, OrganizationID: 1, TemplateID: 7, Name: "Licence"})
	i.AddRelation(Relation{ID: 1, EntityType: "NODE", EntityID: 11, RelatedType: "DOCUMENT", RelatedID: 501})
	i.AddRelation(Relation{ID: 2, EntityType: "DOCUMENT", EntityID: 601, RelatedType: "DOCUMENT", RelatedID: 501})
	i.AddRelation(Relation{ID: 3, EntityType: "DOCUMENT", EntityID: 501, Attachment: "scan.pdf", MadeByTechnician: true})
	i.AddRelation(Relation{ID: 4, EntityType: "ORGANIZATION", EntityID: 1, RelatedType: "NODE", RelatedID: 11, MadeByTechnician: true})
	return i
}

func TestListRelations(t *testing.T) {
	i := withRelations(t)
	for target, want := range map[string][]int{
		"/v2/related-items/with-entity-type/NODE":                     {1},
		"/v2/related-items/with-entity-type/DOCUMENT":                 {2, 3},
		"/v2/related-items/with-related-entity-type/DOCUMENT":         {1, 2},
		"/v2/related-items/with-related-entity-type/ATTACHMENT":       {3},
		"/v2/related-items/with-entity/DOCUMENT/501":                  {1, 2, 3},
		"/v2/related-items/with-entity/DOCUMENT/501?scope=ALL":        {1, 2, 3},
		"/v2/related-items/with-entity/DOCUMENT/501?scope=HOSTING":    {3},
		"/v2/related-items/with-entity/DOCUMENT/501?scope=HOSTED_BY":  {1, 2},
		"/v2/related-items/with-entity/NODE/11":                       {1, 4},
		"/v2/related-items/with-entity/DOCUMENT/503":                  {},
		"/v2/related-items/with-related-entity-type/SOFTWARE_LICENSE": {},
	} {
		if got := ids(i.send("GET", target, "").list(t), "id"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
	for target, status := range map[string]int{
		"/v2/related-items/with-entity/NODE/99":      404,
		"/v2/related-items/with-entity-type/DEVICE":  400,
		"/v2/related-items/with-entity/NODE/11?as=1": 400,
	} {
		if a := i.send("GET", target, ""); a.status != status {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
}

func TestCreateRelations(t *testing.T) {
	const document501, document601 = `{"relEntityType":"DOCUMENT","relEntityId":501}`, `{"relEntityType":"DOCUMENT","relEntityId":601}`
	for _, tt := range []struct {
		name, host, body string
		existing         ExistingRelation
		status           int
		answered, added  int
	}{
		{"new pair", "NODE/12", "[" + document501 + "," + document601 + "]", "", 200, 2, 2},
		{"existing pair refused", "NODE/11", "[" + document601 + "," + document501 + "]", "", 400, 0, 0},
		{"existing pair ignored", "NODE/11", "[" + document601 + "," + document501 + "]", RelationIgnored, 200, 2, 1},
		{"existing pair again", "NODE/11", "[" + document601 + "," + document501 + "]", RelationDuplicated, 200, 2, 2},
		{"twice in one call refused", "NODE/12", "[" + document501 + "," + document501 + "]", RelationRefused, 400, 0, 0},
		{"twice in one call ignored", "NODE/12", "[" + document501 + "," + document501 + "]", RelationIgnored, 200, 1, 1},
		{"unknown document", "NODE/12", "[" + document501 + `,{"relEntityType":"DOCUMENT","relEntityId":99}]`, "", 400, 0, 0},
		{"archived document", "NODE/12", `[{"relEntityType":"DOCUMENT","relEntityId":503}]`, "", 400, 0, 0},
		{"archived host", "DOCUMENT/503", "[" + document501 + "]", "", 400, 0, 0},
		{"unknown host", "NODE/99", "[" + document501 + "]", "", 404, 0, 0},
		{"itself", "DOCUMENT/501", "[" + document501 + "]", "", 400, 0, 0},
		{"unknown type", "NODE/12", `[{"relEntityType":"USER","relEntityId":1}]`, "", 400, 0, 0},
		{"type that cannot host", "CONTACT/12", "[" + document501 + "]", "", 400, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := withRelations(t)
			i.SetDocumentationBehaviour(DocumentationBehaviour{ExistingRelation: tt.existing})
			a := i.send("POST", "/v2/related-items/entity/"+tt.host+"/relations", tt.body)
			if a.status != tt.status || len(i.Relations()) != 4+tt.added || len(i.DocumentWrites()) != tt.added {
				t.Fatalf("%d %s, relations %v", a.status, a.body, i.Relations())
			}
			if tt.status == 200 && len(a.list(t)) != tt.answered {
				t.Errorf("answered %s", a.body)
			}
		})
	}
}

func TestDeleteRelation(t *testing.T) {
	i := withRelations(t)
	for _, status := range []int{204, 404} {
		if a := i.send("DELETE", "/v2/related-items/2", ""); a.status != status {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	i.RemoveRelation(4)
	i.RemoveDevice(11)
	if r := i.Relations(); len(r) != 1 || r[0].ID != 3 {
		t.Errorf("relations %v", r)
	}
	if a := i.send("DELETE", "/v2/related-items/3", `{}`); a.status != 400 || len(i.Violations()) != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
