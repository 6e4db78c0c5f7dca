package tenantsync

import (
	"testing"
)

func TestParseMessage(t *testing.T) {
	const id = "6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f"
	tests := map[string]struct {
		text string
		want Message
		bad  bool
	}{
		"plain":             {text: `{"tenantId":"` + id + `","force":true}`, want: Message{TenantID: id, Force: true}},
		"upper case":        {text: `{"tenantId":"6F0A8F8E-5D0F-4A53-8C9C-0B7F3C1D2E4F"}`, want: Message{TenantID: id}},
		"unknown members":   {text: `{"tenantId":"` + id + `","since":1}`, want: Message{TenantID: id}},
		"not JSON":          {text: `tenant`, bad: true},
		"empty":             {text: ``, bad: true},
		"null":              {text: `null`, bad: true},
		"a list":            {text: `[]`, bad: true},
		"no tenant":         {text: `{"force":true}`, bad: true},
		"a domain":          {text: `{"tenantId":"contoso.example"}`, bad: true},
		"a number":          {text: `{"tenantId":7}`, bad: true},
		"a path in the id":  {text: `{"tenantId":"../` + id + `"}`, bad: true},
		"force is not bool": {text: `{"tenantId":"` + id + `","force":"yes"}`, bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMessage([]byte(tt.text))
			if (err != nil) != tt.bad {
				t.Fatalf("error = %v, want one: %v", err, tt.bad)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"tenantId":"6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f","force":false}`))
	f.Add([]byte(`{"tenantId":"{6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f}"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMessage(text)
		if err == nil && len(m.TenantID) != 36 {
			t.Errorf("accepted the tenant id %q", m.TenantID)
		}
	})
}
