package ninjaone_test

import (
	"errors"
	"net/http"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestCreateCustomField(t *testing.T) {
	wysiwyg := ninjaone.NewCustomField{Name: "usersSummary", Label: "Users & more", Description: "ä", Type: ninjaone.TypeWYSIWYG, Scope: ninjaone.ScopeOrganization}
	text := ninjaone.NewCustomField{Name: "compliance", Label: "Compliance", Type: ninjaone.TypeText, Scope: ninjaone.ScopeNode}
	t.Run("created and writable", func(t *testing.T) {
		sim, c := against(t)
		for _, f := range []ninjaone.NewCustomField{wysiwyg, text} {
			made := must[ninjaone.CustomField](t)(c.CreateCustomField(t.Context(), f))
			if made.Name != f.Name || made.Label != f.Label || made.Type != f.Type || made.APIPermission != ninjaone.PermissionReadWrite ||
				len(made.DefinitionScope) != 1 || made.DefinitionScope[0] != f.Scope {
				t.Errorf("made %+v", made)
			}
		}
		if err := c.UpdateOrganizationFields(t.Context(), 3, ninjaone.Fields{"usersSummary": ninjaone.HTML("<p>x</p>")}, false); err != nil {
			t.Error(err)
		}
		if err := c.UpdateDeviceFields(t.Context(), 31, ninjaone.Fields{"compliance": ninjaone.Text("Compliant")}, false); err != nil {
			t.Error(err)
		}
		if n := len(sim.CustomFields()); n != 2 {
			t.Errorf("%d custom fields, want 2", n)
		}
	})
	t.Run("a name that is taken", func(t *testing.T) {
		_, c := against(t)
		must[ninjaone.CustomField](t)(c.CreateCustomField(t.Context(), text))
		var refused *ninjaone.APIError
		if _, err := c.CreateCustomField(t.Context(), text); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("an instance without the call", func(t *testing.T) {
		sim, c := against(t)
		sim.InjectFault(ninjasim.Fault{Method: http.MethodPost, Path: "^/v2/custom-fields$", Status: 404, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"resultCode":"FAILURE"}`})
		if _, err := c.CreateCustomField(t.Context(), text); !errors.Is(err, ninjaone.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
	t.Run("made once only", func(t *testing.T) {
		sim, c := against(t)
		sim.InjectFault(ninjasim.Fault{Method: http.MethodPost, Path: "^/v2/custom-fields$", Reset: true, AfterHandling: true})
		if _, err := c.CreateCustomField(t.Context(), text); err == nil {
			t.Error("a lost answer passed for success")
		}
		if n := sim.Calls()["POST /v2/custom-fields"]; n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}
