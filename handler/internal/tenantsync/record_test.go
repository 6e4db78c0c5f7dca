package tenantsync

import (
	"testing"
)

func TestParseMessage(t *testing.T) {
	const id = "6f0a8f8e-5d0f-4a53-8c9c-0b7f3c1d2e4f"
	got, err := ParseMessage([]byte(`{"tenantId":"6F0A8F8E-5D0F-4A53-8C9C-0B7F3C1D2E4F","force":true,"since":1}`))
	if want := (Message{TenantID: id, Force: true}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
