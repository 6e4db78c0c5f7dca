package ninjasim

import (
	"fmt"
	"strings"
	"testing"
)

func TestCreateTemplate(t *testing.T) {
	field := func(n int, kind string) string {
		return fmt.Sprintf(`{"fieldName":"f%d","fieldLabel":"F","fieldType":%q,"fieldApiPermission":"READ_WRITE"}`, n, kind)
	}
	var rich []string
	for n := range maxRichFields + 1 {
		rich = append(rich, field(n, "WYSIWYG"))
	}
	for _, tt := range []struct {
		name, body string
		status     int
		violation  bool
	}{
		{"with fields", `{"name":"Licences","allowMultiple":true,"fields":[` + field(1, "TEXT") + `,` + field(2, "WYSIWYG") + `]}`, 200, false},
		{"name that is taken", `{"name":"People"}`, 200, false},
		{"no name", `{"allowMultiple":true}`, 400, true},
		{"field without a label", `{"name":"x","fields":[{"fieldName":"a"}]}`, 400, true},
		{"unknown type", `{"name":"x","fields":[` + field(1, "RICH") + `]}`, 400, true},
		{"field twice", `{"name":"x","fields":[` + field(1, "TEXT") + `,` + field(1, "TEXT") + `]}`, 400, false},
		{"too many WYSIWYG fields", `{"name":"x","fields":[` + strings.Join(rich, ",") + `]}`, 400, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := withDocuments(t)
			a := i.send("POST", "/v2/document-templates", tt.body)
			if a.status != tt.status || (len(i.Violations()) > 0) != tt.violation || (len(i.Templates()) == 4) != (tt.status == 200) {
				t.Errorf("%d %s, violations %v", a.status, a.body, i.Violations())
			}
		})
	}
}

func TestReplaceTemplate(t *testing.T) {
	const userID = `{"fieldId":70,"fieldName":"userID","fieldLabel":"User","fieldType":"TEXT","fieldApiPermission":"READ_WRITE"}`
	for _, tt := range []struct {
		name, body string
		status     int
		violation  bool
		left       []string // values of document 501
	}{
		{"one field kept, one added", `{"name":"People","fields":[` + userID + `,{"fieldName":"tenant","fieldLabel":"Tenant"}]}`, 200, false, []string{"userID"}},
		{"unknown id", `{"name":"People","fields":[{"fieldId":99,"fieldName":"userID","fieldType":"TEXT"}]}`, 400, false, nil},
		{"another type", `{"name":"People","fields":[` + strings.Replace(userID, "TEXT", "WYSIWYG", 1) + `]}`, 400, false, nil},
		{"another name", `{"name":"People","fields":[` + strings.Replace(userID, "userID", "id", 1) + `]}`, 400, false, nil},
		{"new field without a label", `{"name":"People","fields":[{"fieldName":"tenant"}]}`, 400, false, nil},
		{"allowMultiple", `{"name":"People","allowMultiple":true}`, 400, true, nil},
		{"times that only NinjaOne sets", `{"name":"People","fields":[{"fieldId":70,"fieldName":"userID","fieldType":"TEXT","createdTime":1}]}`, 400, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := withDocuments(t)
			before := fmt.Sprint(i.Templates())
			a := i.send("PUT", "/v2/document-templates/7", tt.body)
			if a.status != tt.status || (len(i.Violations()) > 0) != tt.violation || (fmt.Sprint(i.Templates()) != before) != (tt.status == 200) {
				t.Fatalf("%d %s, violations %v", a.status, a.body, i.Violations())
			}
			if tt.status != 200 {
				return
			}
			people := i.Templates()[0]
			if len(people.Items) != 2 || people.Items[0].ID != 70 || people.Items[1].ID == 0 || !people.AllowMultiple || len(people.Roles) != 0 {
				t.Errorf("template %+v", people)
			}
			if fields := i.Documents(1)[0].Fields; len(fields) != len(tt.left) || fields["userID"] != "u-1" {
				t.Errorf("values left: %v", fields)
			}
		})
	}
	i := withDocuments(t)
	if a := i.send("PUT", "/v2/document-templates/99", `{"name":"x"}`); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
