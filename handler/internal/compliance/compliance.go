// Package compliance keeps NinjaOne's compliance field right between two syncs:
// it receives Microsoft Graph's notifications about Entra devices, reads what
// Intune says of those devices, writes the field where the value differs,
// looks through every tenant now and then in case notifications do not come,
// and keeps the subscriptions that make them come.
//
// The rule that turns a state into a value is package compose's, what is noted
// of a device is package ledger's, and how a service is called belongs to
// packages m365, ninjaone, cipp and storage. Nothing but the one field is
// written here.
package compliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/tenant"
)

const (
	// QueueName is the queue that carries devices and tenants to UpdateCompliance.
	QueueName = "ninjaone-compliance"
	// TableName is our own table of subscriptions, by the id that rides in the
	// notification URL, and of how each tenant's notifications and sweeps go.
	TableName = "NinjaOneSubscriptions"
	// Path is where the app receives notifications, below its public address.
	Path = "/api/ninjaone/notifications"
	// Route is Path as function.json names it.
	Route = "ninjaone/notifications"

	// LogbookName is the name under which this package writes to CIPP's logbook.
	LogbookName = "NinjaDeviceCompliance"
	// fieldName is CIPP's name of the field.
	fieldName = "DeviceCompliance"
)

// Events that a message can carry to the subscription's keeper. The first two
// are Graph's lifecycle events; the last means that a notification came from a
// subscription that is not the one noted.
const (
	eventReauthorize = "reauthorizationRequired"
	eventRemoved     = "subscriptionRemoved"
	eventStray       = "stray"
)

// maxNamed is from how many devices on one list of the whole tenant costs less
// than asking for each.
const maxNamed = 40

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

// sweeps reports whether the message asks for a sweep.
func (m Message) sweeps() bool { return m.Event == "" && len(m.DeviceIDs) == 0 }

// ParseMessage decodes and checks a queue message. Device ids that are no
// GUIDs, and repeats, are left out. An error means that the message can never
// be processed; it names what is wrong, not the content.
func ParseMessage(text []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return Message{}, fmt.Errorf("the message is not the JSON object {\"tenantId\":…,\"deviceIds\":[…]}: %w", err)
	}
	var ok bool
	if m.TenantID, ok = guid(m.TenantID); !ok {
		return Message{}, errors.New("the message's tenantId is not a GUID")
	}
	named := len(m.DeviceIDs) > 0
	ids := m.DeviceIDs[:0]
	for _, raw := range m.DeviceIDs {
		if id, ok := guid(raw); ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	m.DeviceIDs = slices.Compact(ids)
	if named && len(m.DeviceIDs) == 0 {
		return Message{}, errors.New("none of the message's deviceIds is a GUID")
	}
	return m, nil
}

// guid returns an id in the form in which ids are compared.
func guid(s string) (string, bool) {
	if len(s) != 36 {
		return "", false
	}
	id, err := uuid.Parse(s)
	return id.String(), err == nil
}

// Queue takes messages that become visible after a delay.
type Queue interface {
	Send(ctx context.Context, v any, delay time.Duration) error
}

// share spreads tenants evenly over [0, 1), each always at the same place.
func share(tenantID, purpose string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose + tenantID)) // it never fails
	return float64(h.Sum64()>>11) / (1 << 53)
}

// newer reports whether a is the later record of one machine: the one that
// checked in last, then the one that enrolled last.
func newer(a, b *tenant.ManagedDevice) bool {
	if !a.LastSync.Equal(b.LastSync) {
		return a.LastSync.After(b.LastSync)
	}
	if !a.Enrolled.Equal(b.Enrolled) {
		return a.Enrolled.After(b.Enrolled)
	}
	return a.ID < b.ID
}
