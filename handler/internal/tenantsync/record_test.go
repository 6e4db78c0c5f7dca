package tenantsync

import (
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
)

func TestChanges(t *testing.T) {
	compliant := ninjaone.Text("Compliant")
	tests := map[string]struct {
		have  string // what the record notes of the field
		want  ninjaone.Value
		force bool
		sent  bool
	}{
		"never written":                           {"", compliant, false, true},
		"same value":                              {digest(compliant), compliant, false, false},
		"same value, forced":                      {digest(compliant), compliant, true, true},
		"other value":                             {digest(ninjaone.Text("Non-Compliant")), compliant, false, true},
		"same text as HTML is another value":      {digest(ninjaone.HTML("Compliant")), compliant, false, true},
		"outcome of the last write unknown":       {markSending, compliant, false, true},
		"cleared before":                          {markCleared, compliant, false, true},
		"clear what was never ours":               {"", ninjaone.Clear(), false, false},
		"clear what was never ours, forced":       {"", ninjaone.Clear(), true, false},
		"clear what we wrote":                     {digest(compliant), ninjaone.Clear(), false, true},
		"clear after a write of unknown outcome":  {markSending, ninjaone.Clear(), false, true},
		"clear what we cleared":                   {markCleared, ninjaone.Clear(), false, false},
		"clear what we cleared, forced":           {markCleared, ninjaone.Clear(), true, false},
		"an empty text clears a field of ours":    {digest(compliant), textOrClear(""), false, true},
		"a text that is not empty does not clear": {digest(compliant), textOrClear("Compliant"), false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := record{fields: map[string]string{"cippCompliance": tt.have}}
			if tt.force {
				r.doubt()
			}
			send := r.changes(ninjaone.Fields{"cippCompliance": tt.want})
			if got, sent := send["cippCompliance"]; sent != tt.sent {
				t.Fatalf("sent = %v, want %v", sent, tt.sent)
			} else if sent && got != tt.want {
				t.Errorf("sent %v, want %v", got, tt.want)
			}
		})
	}
}

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
