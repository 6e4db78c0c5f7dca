package ninjaone

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const peopleTemplate = `{"id":4,"name":"People","description":"Everybody","allowMultiple":true,"mandatory":true,
 "createTime":1790000000.5,"updateTime":1790000001.5,"availableToAllTechnicians":false,"allowedTechnicianRoles":[2,5],
 "archived":false,"archivedBy":{"id":1},
 "fields":[
  {"uiElementUid":"7c9b1f6e-1111-4222-8333-444455556666","uiElementName":"Head","uiElementType":"TITLE","uiElementValue":"Who"},
  {"fieldId":40,"fieldName":"userID","fieldLabel":"User ID","fieldType":"TEXT","fieldDescription":null,
   "fieldTechnicianPermission":"READ_ONLY","fieldScriptPermission":"NONE","fieldApiPermission":"READ_WRITE",
   "fieldContent":{"required":false,"advancedSettings":{"maxCharacters":100}},"createdTime":1790000000.5,"updatedTime":1790000000.5},
  {"fieldId":41,"fieldName":"summary","fieldLabel":"Summary","fieldType":"WYSIWYG","fieldApiPermission":"READ_WRITE",
   "fieldContent":{"advancedSettings":{"expandLargeValueOnRender":true}}},
  {"fieldId":42,"fieldName":"colour","fieldLabel":"Colour <b>","fieldType":"DROPDOWN","somethingNew":{"x":1},
   "fieldContent":{"values":[{"id":"7c9b1f6e-aaaa-4222-8333-444455556666","name":"red","active":true}]}}]}`

func TestTemplates(t *testing.T) {
	fake := newFake(t, status(200, `[{"id":9,"name":"People","archived":true},`+peopleTemplate+`,{"id":5,"name":"people"},{"id":6,"name":"Licences"}]`))
	got, err := serve(t, fake).Templates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for _, template := range got {
		ids = append(ids, template.ID)
	}
	if !slices.Equal(ids, []int{4, 5, 6, 9}) || got[0].Archived || !got[3].Archived || !got[0].AllowMultiple || got[0].Description != "Everybody" {
		t.Errorf("got %+v", got)
	}
	summary, has := got[0].Field("summary")
	if !has || summary.ID != 41 || summary.Type != TypeWYSIWYG || summary.APIPermission != PermissionReadWrite || !summary.Expanded {
		t.Errorf("got %+v, %v", summary, has)
	}
	if _, has := got[0].Field("Summary"); has {
		t.Error("names of fields are compared without regard to case")
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"GET /api/v2/document-templates?includeTechnicianRoles=true"}) {
		t.Errorf("calls %q", calls)
	}
}

func TestTemplatesWithoutDocumentation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   bool
	}{
		{"payment required", status(402, `{}`), true},
		{"forbidden", status(403, `{"resultCode":"FORBIDDEN"}`), true},
		{"no such path", status(404, `{}`), true},
		{"a web server's 404", func(w http.ResponseWriter, r *http.Request) { page(w, 404, "<p>?</p>") }, false},
		{"something is broken", status(500, `{"resultCode":"FAILURE"}`), false},
		{"not understood", status(400, `{}`), false},
		{"null", status(200, `null`), false},
		{"template without an id", status(200, `[{"name":"People"}]`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				got, err := inProcess(t, newFake(t, tt.answer)).Templates(t.Context())
				var answer *APIError
				if got != nil || errors.Is(err, ErrNoDocumentation) != tt.want || !errors.As(err, &answer) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		})
	}
}

var tenantField = TemplateField{
	Name: "tenantID", Label: "Tenant ID", Type: TypeText,
	TechnicianPermission: PermissionReadOnly, ScriptPermission: PermissionNone, APIPermission: PermissionReadWrite,
}

func TestUpdateTemplateAnsweredWithAnotherOne(t *testing.T) {
	_, err := serve(t, newFake(t, status(200, `{"id":5}`))).UpdateTemplate(t.Context(), Template{ID: 4, Name: "People"})
	if !errors.Is(err, errOtherThing) {
		t.Errorf("got %v", err)
	}
}

func TestCreateTemplate(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		sameJSON(t, readBody(t, r), `{"name":"People","description":"Everybody","allowMultiple":true,"mandatory":false,"availableToAllTechnicians":true,
		 "fields":[{"fieldName":"tenantID","fieldLabel":"Tenant ID","fieldType":"TEXT","fieldContent":{"required":false},
		   "fieldTechnicianPermission":"READ_ONLY","fieldScriptPermission":"NONE","fieldApiPermission":"READ_WRITE"},
		  {"fieldName":"summary","fieldLabel":"Summary","fieldType":"WYSIWYG",
		   "fieldContent":{"required":false,"advancedSettings":{"expandLargeValueOnRender":true}}}]}`)
		answer(w, 200, peopleTemplate)
	})
	got, err := serve(t, fake).CreateTemplate(t.Context(), Template{
		Name: "People", Description: "Everybody", AllowMultiple: true,
		Fields: []TemplateField{tenantField, {Name: "summary", Label: "Summary", Type: TypeWYSIWYG, Expanded: true}},
	})
	if err != nil || got.ID != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"POST /api/v2/document-templates"}) {
		t.Errorf("calls %q", calls)
	}
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(w, g); diff != "" {
		t.Error(diff)
	}
}

// FuzzTemplateRoundTrip: whatever a template holds, an update sends its fields
// back in number and order, with all members that NinjaOne lets anybody set.
func FuzzTemplateRoundTrip(f *testing.F) {
	f.Add(peopleTemplate)
	f.Add(`{"id":1,"fields":[{"fieldName":"a","fieldContent":null},{}]}`)
	f.Add(`{"fields":null}`)
	f.Fuzz(func(t *testing.T, in string) {
		var template Template
		if json.Unmarshal([]byte(in), &template) != nil {
			return
		}
		body, err := template.body()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"description", "mandatory", "availableToAllTechnicians", "allowedTechnicianRoles"} {
			if value := template.raw[name]; value != nil && string(value) != "null" && body[name] == nil {
				t.Errorf("member %q is not sent", name)
			}
		}
		var sent []map[string]json.RawMessage
		if err := json.Unmarshal(body["fields"], &sent); err != nil || len(sent) != len(template.Fields) {
			t.Fatalf("%d of %d fields are sent, %v", len(sent), len(template.Fields), err)
		}
		for i, field := range template.Fields {
			for name, value := range field.raw {
				_, has := sent[i][name]
				if wanted := string(value) != "null" && name != "createdTime" && name != "updatedTime"; has != wanted {
					t.Errorf("field %d: member %q sent: %v", i, name, has)
				}
			}
		}
	})
}
