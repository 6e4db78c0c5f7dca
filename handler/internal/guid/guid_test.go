package guid

import "testing"

func TestParse(t *testing.T) {
	const want = "6f1c1b1e-0000-4000-8000-00000000000a"
	for text, want := range map[string]string{
		want: want, " 6F1C1B1E-0000-4000-8000-00000000000A\n": want,
		"": "", "{6f1c1b1e-0000-4000-8000-00000000000a}": "", "6f1c1b1e00004000800000000000000a": "", "urn:uuid:" + want: "",
		"6f1c1b1e-0000-4000-8000-00000000000g": "", "6f1c1b1e-00004-000-8000-00000000000a": "", "contoso.example": "",
	} {
		if got := Parse(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := Fold(" S-1-12-1 "); got != "s-1-12-1" {
		t.Errorf("an id that is not a GUID became %q", got)
	}
}

type message struct {
	TenantID string `json:"tenantId"`
	Force    bool   `json:"force"`
}

func TestMessage(t *testing.T) {
	const id = "6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f"
	for text, want := range map[string]string{
		`{"tenantId":"` + id + `","force":true}`: id, `{"tenantId":"6F0A8F8E-5D0F-4A53-8C9C-0B7F3C1D2E4F","since":1}`: id,
		`tenant`: "", ``: "", `null`: "", `[]`: "", `{}`: "", `{"force":true}`: "", `{"tenantId":"contoso.example"}`: "", `{"tenantId":7}`: "",
		`{"tenantId":"../` + id + `"}`: "", `{"tenantId":"` + id + `","force":"yes"}`: "",
	} {
		var m message
		if err := Message([]byte(text), &m, &m.TenantID); (err == nil) != (want != "") || err == nil && m.TenantID != want {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"tenantId":"6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f","force":false}`))
	f.Add([]byte(`{"tenantId":"{6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f}"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m message
		if err := Message(text, &m, &m.TenantID); err == nil && len(m.TenantID) != 36 {
			t.Errorf("accepted the tenant id %q", m.TenantID)
		}
	})
}
