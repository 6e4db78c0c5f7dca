package vulnerabilities

import "cipp-ninjaone/handler/internal/guid"

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

// ParseMessage decodes and checks a queue message (guid.Message).
func ParseMessage(text []byte) (m Message, err error) {
	err = guid.Message(text, &m, &m.TenantID)
	return m, err
}
