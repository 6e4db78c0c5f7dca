package vulnerabilities

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// FunctionName and QueueName are the function's folder and its queue.
const (
	FunctionName = "UploadVulnerabilities"
	QueueName    = "ninjaone-vulnerabilities"
)

// Message is one message of the queue ninjaone-vulnerabilities: the CVE file of
// one tenant, now.
type Message struct {
	TenantID string `json:"tenantId"` // Microsoft 365 tenant id, a GUID
	// Force sends the file again although NinjaOne has the same bytes: somebody
	// pressed the button. It does not confirm what waits for a confirmation.
	Force bool `json:"force,omitempty"`
	// Look only asks what became of the import that is under way.
	Look bool `json:"look,omitempty"`
}

// ParseMessage decodes and checks a queue message. An error means that the
// message can never be processed; it names what is wrong, not the content.
func ParseMessage(text []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("the message is not the JSON object {\"tenantId\":…}: %w", err)
	}
	id, err := uuid.Parse(m.TenantID)
	if err != nil {
		return Message{}, errors.New("the message's tenantId is not a GUID")
	}
	m.TenantID = id.String()
	return m, nil
}
