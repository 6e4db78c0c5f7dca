package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"cipp-ninjaone/handler/internal/guid"

	"github.com/google/uuid"
)

const (
	// Path is where the app receives notifications, below its public address.
	Path = "/api/ninjaone/notifications"
	// Route is Path as function.json names it.
	Route = "ninjaone/notifications"
)

// Subscription is what tells whether a notification is genuine.
type Subscription struct {
	ID             string // ours, in the notification URL
	TenantID       string
	ClientState    string
	SubscriptionID string // Graph's; "" while it is not known
}

// NewSubscription names a subscription that is about to be created. The client state
// begins with our id: so an item that comes with another one's URL finds its
// subscription too.
func NewSubscription(tenantID string) Subscription {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails, by its contract
	id := uuid.NewString()
	return Subscription{ID: id, TenantID: tenantID, ClientState: id + "." + base64.RawURLEncoding.EncodeToString(secret[:])}
}

// URL is where Graph sends the subscription's notifications.
func (s Subscription) URL(base string) string { return base + Path + "?subscription=" + s.ID }

// genuine reports, in constant time, whether a client state is the
// subscription's.
func (s Subscription) genuine(clientState string) bool {
	got, want := sha256.Sum256([]byte(clientState)), sha256.Sum256([]byte(s.ClientState))
	return s.ClientState != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// idOf returns our id that a client state begins with; "" where it has none.
func idOf(clientState string) string {
	prefix, _, _ := strings.Cut(clientState, ".")
	return guid.Parse(prefix)
}
