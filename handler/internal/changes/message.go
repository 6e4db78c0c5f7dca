package changes

import (
	"encoding/json"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/guid"
)

// Message is one message of the queue ninjaone-changes: a look at a tenant.
type Message struct {
	TenantID string `json:"tenantId"` // Microsoft 365 tenant id, a GUID
}

// ParseMessage decodes and checks a queue message. An error means that the
// message can never be processed; it names what is wrong, not the content.
func ParseMessage(text []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("the message is not the JSON object {\"tenantId\":…}: %w", err)
	}
	if m.TenantID = guid.Parse(m.TenantID); m.TenantID == "" {
		return Message{}, errors.New("the message's tenantId is not a GUID")
	}
	return m, nil
}
