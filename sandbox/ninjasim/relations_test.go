package ninjasim

import (
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
