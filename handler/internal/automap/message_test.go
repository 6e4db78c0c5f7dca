package automap

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestParseMessage(t *testing.T) {
	const id = "0b7a3b0c-58b7-4a0b-9d52-6c8c7f3d2a10"
	tests := []struct {
		name, text, want string
		bad              bool
	}{
		{"all", `{}`, "", false},
		{"all, with white space", " {\n} \n", "", false},
		{"all, with a property of somebody else's", `{"requestedBy":"console"}`, "", false},
		{"one", `{"tenantId":"` + id + `"}`, id, false},
		{"one, in upper case", `{"TenantId":"` + strings.ToUpper(id) + `"}`, id, false},
		{"null is no tenant", `{"tenantId":null}`, "", true},
		{"empty is not all", `{"tenantId":""}`, "", true},
		{"no GUID", `{"tenantId":"contoso.example"}`, "", true},
		{"zero GUID", `{"tenantId":"00000000-0000-0000-0000-000000000000"}`, "", true},
		{"a number", `{"tenantId":17}`, "", true},
		{"an object", `{"tenantId":{}}`, "", true},
		{"nothing", ``, "", true},
		{"JSON null", `null`, "", true},
		{"a list", `[]`, "", true},
		{"a text", `"{}"`, "", true},
		{"half an object", `{"tenantId":`, "", true},
		{"two objects", `{}{}`, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ParseMessage([]byte(tt.text))
			if (err != nil) != tt.bad || m.TenantID != tt.want {
				t.Errorf("%+v, error %v; want %q, bad %v", m, err, tt.want, tt.bad)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, s := range []string{`{}`, `{"tenantId":"0b7a3b0c-58b7-4a0b-9d52-6c8c7f3d2a10"}`, `{"tenantId":null}`, `{"tenantId":""}`, `null`, `[`, "\xff{}", `{"tenantId":"{0b7a3b0c-58b7-4a0b-9d52-6c8c7f3d2a10}"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMessage(text)
		if err != nil {
			if m != (Message{}) {
				t.Errorf("a message that cannot be read gives %+v", m)
			}
			return
		}
		if id, err := uuid.Parse(m.TenantID); m.TenantID != "" && (err != nil || id.String() != m.TenantID) {
			t.Errorf("tenant id %q", m.TenantID)
		}
		sent, err := json.Marshal(m)
		must(t, err)
		if again, err := ParseMessage(sent); err != nil || again != m {
			t.Errorf("%+v is sent as %s, which is read as %+v, %v", m, sent, again, err)
		}
	})
}
