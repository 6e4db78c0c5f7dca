// Package notify turns Microsoft Graph's notifications about Entra devices into messages
// of the queue ninjaone-compliance. It answers Graph's handshake, verifies each
// notification by its client state, and enqueues what it names.
//
// It calls no service but the queue. NinjaOne, CIPP and the rows of subscriptions may
// not enter here.
package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/guid"
)

// QueueName is the queue that carries devices and tenants to UpdateCompliance.
const QueueName = "ninjaone-compliance"

// Events that a message can carry about a subscription. The first two are
// Graph's lifecycle events. A stray is a subscription that notifies us although
// its id is not the one noted.
const (
	EventReauthorize = "reauthorizationRequired"
	EventRemoved     = "subscriptionRemoved"
	EventStray       = "stray"
)

// Message is one message of the queue ninjaone-compliance. Without device ids
// and event it asks for a sweep of the tenant.
type Message struct {
	TenantID       string   `json:"tenantId"`                 // Microsoft 365 tenant id, a GUID
	DeviceIDs      []string `json:"deviceIds,omitempty"`      // directory object ids of Entra devices
	Event          string   `json:"event,omitempty"`          // what happened to the subscription
	SubscriptionID string   `json:"subscriptionId,omitempty"` // Graph's id, with Event

	// Rest says that the sweep goes on with one that used up its time.
	Rest bool `json:"rest,omitempty"`
	// Since is when a sweep was put back: it is needless once the tenant was
	// swept after that.
	Since time.Time `json:"since,omitzero"`
}

// Sweeps reports whether the message asks for a sweep.
func (m Message) Sweeps() bool { return m.Event == "" && len(m.DeviceIDs) == 0 }

// ParseMessage decodes and checks a queue message. Repeated device ids, and
// those that are not GUIDs, are left out. An error means that the message can
// never be processed; it names what is wrong, not the content.
func ParseMessage(text []byte) (m Message, err error) {
	if err := guid.Message(text, &m, &m.TenantID); err != nil {
		return Message{}, err
	}
	named := len(m.DeviceIDs) > 0
	for i, id := range m.DeviceIDs {
		m.DeviceIDs[i] = guid.Parse(id)
	}
	slices.Sort(m.DeviceIDs)
	m.DeviceIDs = slices.DeleteFunc(slices.Compact(m.DeviceIDs), func(id string) bool { return id == "" })
	if named && len(m.DeviceIDs) == 0 {
		return Message{}, errors.New("none of the message's deviceIds is a GUID")
	}
	return m, nil
}

// Queue takes messages that become visible after a delay.
type Queue interface {
	Send(ctx context.Context, v any, delay time.Duration) error
}
