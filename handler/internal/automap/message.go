package automap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// QueueName is the queue whose messages start an automap.
const QueueName = "ninjaone-automap"

// Message is one message of the queue ninjaone-automap. The zero value, {} on
// the queue, asks for all tenants without an organization.
type Message struct {
	// TenantID is the only tenant to map, a GUID; "" for all.
	TenantID string `json:"tenantId,omitempty"`
}

// ParseMessage decodes and checks a queue message. An error means that the
// message can never be processed; it names what is wrong, not the content.
// A tenantId that is there but is not a GUID is such an error, and never means
// all tenants.
func ParseMessage(text []byte) (Message, error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) == 0 || trimmed[0] != '{' {
		return Message{}, errors.New("the message is not the JSON object {} or {\"tenantId\":…}")
	}
	var m struct {
		TenantID json.RawMessage `json:"tenantId"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("the message is not the JSON object {} or {\"tenantId\":…}: %w", err)
	}
	if len(m.TenantID) == 0 {
		return Message{}, nil
	}
	var id uuid.UUID
	if err := json.Unmarshal(m.TenantID, &id); err != nil || id == uuid.Nil {
		return Message{}, errors.New("the message's tenantId is not a GUID")
	}
	return Message{TenantID: id.String()}, nil
}
