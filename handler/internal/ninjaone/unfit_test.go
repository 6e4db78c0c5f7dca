package ninjaone

import (
	"encoding/json"
	"testing"
)

func TestUnfit(t *testing.T) {
	for definition, want := range map[string]string{
		`{"type":"TEXT","apiPermission":"READ_WRITE","definitionScope":["NODE","LOCATION"]}`:       "",
		`{"type":"TEXT","apiPermission":"READ_WRITE","definitionScope":[]}`:                        "",
		`{"type":"TEXT","apiPermission":"READ_WRITE","definitionScope":["ORGANIZATION"]}`:          "it is not defined for the scope Device",
		`{"type":"WYSIWYG","apiPermission":"READ_WRITE","definitionScope":["NODE"]}`:               "its type is WYSIWYG, and must be TEXT",
		`{"type":"TEXT","apiPermission":"READ_ONLY","definitionScope":["NODE"]}`:                   "its API permission is READ_ONLY, and must be Read/Write",
		`{"type":"TEXT","apiPermission":"READ_WRITE","definitionScope":["NODE"],"active":false}`:   "it is not active",
		`{"type":"TEXT","apiPermission":"READ_WRITE","definitionScope":["NODE"],"active":"maybe"}`: "",
	} {
		var f CustomField
		if err := json.Unmarshal([]byte(definition), &f); err != nil {
			t.Fatal(err)
		}
		if got := f.Unfit(ScopeNode, TypeText); got != want {
			t.Errorf("%s: %q, want %q", definition, got, want)
		}
	}
	f := CustomField{Active: true, Type: TypeText, APIPermission: PermissionReadWrite}
	if f.Unfit(ScopeOrganization, TypeText) == "" {
		t.Error("a definition without scopes counts as one of organizations")
	}
}
