package tenantsync

import (
	"time"

	"cipp-ninjaone/handler/internal/guid"
)

// QueueName is the queue that carries one tenant per message to SyncTenant.
const QueueName = "ninjaone-sync"

// Message is one message of the queue ninjaone-sync.
type Message struct {
	TenantID string `json:"tenantId"` // Microsoft 365 tenant id, a GUID
	Force    bool   `json:"force"`    // rewrite every field, also those that did not change
	// Light asks for a light run: something changed since the last run.
	Light bool `json:"light,omitempty"`
	// Devices says of a light run that NinjaOne's devices changed.
	Devices bool `json:"devices,omitempty"`
	// Due is when a light run that was asked for ahead is due. What is found until then
	// relies on it.
	Due time.Time `json:"due,omitzero"`

	// Sent is when the message was put on the queue, by the storage service's clock in
	// whole seconds. It is zero when unknown or when the message was delivered before.
	Sent time.Time `json:"-"`
}

// ParseMessage decodes and checks a queue message (guid.Message).
func ParseMessage(text []byte) (m Message, err error) {
	err = guid.Message(text, &m, &m.TenantID)
	return m, err
}
