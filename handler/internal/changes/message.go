package changes

import (
	"cipp-ninjaone/handler/internal/guid"
)

// Message is one message of the queue ninjaone-changes: a look at a tenant.
type Message struct {
	TenantID string `json:"tenantId"` // Microsoft 365 tenant id, a GUID
}

// ParseMessage decodes and checks a queue message (guid.Message).
func ParseMessage(text []byte) (m Message, err error) {
	err = guid.Message(text, &m, &m.TenantID)
	return m, err
}
