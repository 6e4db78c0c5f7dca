package m365

import (
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestRolesHaveTodaysNames(t *testing.T) {
	roles := [][3]string{ // template id, name that came, name that is shown
		{"62E90394-69F5-4237-9190-012177145E10", "Company Administrator", "Global Administrator"},
		{"fe930be7-5e62-47db-91af-98c3a49a38b1", "User Account Administrator", "User Administrator"},
		{"729827e3-9c14-49f7-bb1b-9608f156bbb8", "Password Administrator", "Helpdesk Administrator"},
		{"29232cdf-9323-42fd-ade2-1d097af3e4de", "Exchange Service Administrator", "Exchange Administrator"},
		{"f28a1f50-f6e7-4571-818b-6a12f2af6b6c", "SharePoint Service Administrator", "SharePoint Administrator"},
		{"75941009-915a-4869-abe7-691bff18279e", "Lync Service Administrator", "Skype for Business Administrator"},
		{"44367163-eba1-44c3-98af-f5787879f96a", "CRM Service Administrator", "Dynamics 365 Administrator"},
		{"a9ea8996-122f-4c74-9520-8edcd192826c", "Power BI Service Administrator", "Fabric Administrator"},
		{"3a2c62db-5318-420d-8d74-23affee5d9d5", "Intune Service Administrator", "Intune Administrator"},
		{"f023fd81-a637-4b56-95fd-791ac0226033", "Service Administrator", "Service Support Administrator"},
		{"69091246-20e8-4a56-aa4d-066075b2a7a8", "Teams Service Administrator", "Teams Administrator"},
		{"9f06204d-73c1-4d4c-880a-6edb90606fd8", "Device Administrators", "Microsoft Entra Joined Device Local Administrator"},
		{"ffffffff-0000-4000-8000-000000000001", "Company Administrator", "Company Administrator"},
		{"", "Own Role", "Own Role"},
	}
	for _, form := range []string{"delta", "list"} {
		t.Run(form, func(t *testing.T) {
			c := newCloud(t)
			var rows []string
			for i, r := range roles {
				id := "d0000000-0000-4000-8000-00000000000" + string(rune('a'+i))
				rows = append(rows, `{"id":"`+id+`","displayName":"`+r[1]+`","roleTemplateId":"`+r[0]+`"}`)
				c.on("GET /v1.0/directoryRoles/"+id+"/members", c.value(""))
			}
			c.on(routeRoles, c.says(200, `{"@odata.deltaLink":"{host}/x","value":[`+strings.Join(rows, ",")+`]}`))
			if form == "list" {
				c.on(routeRoles, c.says(501, `{}`))
				c.on("GET /v1.0/directoryRoles", c.value(strings.Join(rows, ",")))
			}
			got := c.read().Roles
			if !got.OK() || len(got.Value) != len(roles) {
				t.Fatalf("got %+v", got)
			}
			for i, r := range roles {
				if got.Value[i].DisplayName != r[2] || got.Value[i].TemplateID != strings.ToLower(r[0]) {
					t.Errorf("%s: got %+v, want %q", r[1], got.Value[i], r[2])
				}
			}
		})
	}
}

func TestBuiltInRoles(t *testing.T) {
	for id, name := range builtInRoles {
		if guid.Parse(id) == "" || id != strings.ToLower(id) || strings.TrimSpace(name) != name || name == "" {
			t.Errorf("%q: %q", id, name)
		}
	}
	if builtInRoles[tenant.GlobalAdministrator] != "Global Administrator" {
		t.Error("the Global Administrator has another id")
	}
}
