package compliance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"cipp-ninjaone/handler/internal/layout"
	"cipp-ninjaone/handler/internal/storage"
)

// subscriptionPartition holds the subscriptions, statusPartition how each
// tenant's notifications and sweeps go.
const (
	subscriptionPartition = "subscription"
	statusPartition       = "status"
)

// subscription is one row of ours: a subscription that Graph has, or that it
// is being asked for.
type subscription struct {
	ID             string // ours, in the notification URL
	TenantID       string
	Direct         bool // the tenant signs in without GDAP
	ClientState    string
	BaseURL        string    // public address of this app when it was made
	SubscriptionID string    // Graph's; "" while it is not known
	Created        time.Time // when the row was made
	Expires        time.Time // end, as Graph granted it
	RenewAt        time.Time // when it is to be renewed
	Checked        time.Time // when Graph last confirmed that it exists
	// Doubtful says that Graph may have a further subscription with our id in
	// its address, from a creation whose answer was lost.
	Doubtful bool
}

// newSubscription makes a row for a subscription that is about to be created.
// The client state begins with the row's id, so that an item finds its row also
// when it comes with another subscription's URL.
func newSubscription(tenantID string, direct bool, baseURL string, now time.Time) subscription {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails, by its contract
	id := uuid.NewString()
	return subscription{
		ID: id, TenantID: tenantID, Direct: direct, BaseURL: baseURL, Created: now,
		ClientState: id + "." + base64.RawURLEncoding.EncodeToString(secret[:]),
	}
}

// url is where Graph sends the subscription's notifications.
func (s subscription) url() string { return s.BaseURL + Path + "?subscription=" + s.ID }

// genuine reports, in constant time, whether a client state is the
// subscription's.
func (s subscription) genuine(clientState string) bool {
	got, want := sha256.Sum256([]byte(clientState)), sha256.Sum256([]byte(s.ClientState))
	return s.ClientState != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// idOf returns the row's id that a client state begins with.
func idOf(clientState string) (string, bool) {
	prefix, _, ok := strings.Cut(clientState, ".")
	if !ok {
		return "", false
	}
	return guid(prefix)
}

func (s subscription) entity() storage.Entity {
	return storage.Entity{
		"PartitionKey": subscriptionPartition, "RowKey": s.ID, "Version": int32(layout.Version),
		"TenantId": s.TenantID, "Direct": s.Direct, "ClientState": s.ClientState, "BaseUrl": s.BaseURL,
		"SubscriptionId": s.SubscriptionID,
		"Created":        s.Created, "Expires": s.Expires, "RenewAt": s.RenewAt, "Checked": s.Checked,
		"Doubtful": s.Doubtful,
	}
}

func subscriptionOf(row storage.Entity) subscription {
	return subscription{
		ID: row.RowKey(), TenantID: row.String("TenantId"), Direct: row.Bool("Direct"),
		ClientState: row.String("ClientState"), BaseURL: row.String("BaseUrl"), SubscriptionID: row.String("SubscriptionId"),
		Created: row.Time("Created"), Expires: row.Time("Expires"), RenewAt: row.Time("RenewAt"), Checked: row.Time("Checked"),
		Doubtful: row.Bool("Doubtful"),
	}
}

// errUnknown says that there is no subscription with an id.
var errUnknown = errors.New("no such subscription")

// loadSubscription reads one row; errUnknown when there is none.
func loadSubscription(ctx context.Context, table *storage.Table, id string) (subscription, error) {
	row, err := table.Get(ctx, subscriptionPartition, id)
	if errors.Is(err, storage.ErrNotFound) {
		return subscription{}, errUnknown
	}
	if err != nil {
		return subscription{}, fmt.Errorf("find the subscription: %w", err)
	}
	return subscriptionOf(row), nil
}

const (
	knownLife   = 10 * time.Minute // a row is read again so often
	freshLife   = 5 * time.Second  // the same while Graph's id is not known
	unknownLife = time.Minute      // an id is believed to be unknown so long
	maxUnknown  = 10000            // ids remembered as unknown
	// lookups per second and at once, beyond which ids that are not in memory
	// are refused: Graph comes back, and whoever makes ids up costs no more.
	lookupRate, lookupBurst = 50, 1000
)

// errBusy says that too many ids are being asked for at once.
var errBusy = errors.New("too many unknown subscriptions are being asked for")

// verifier finds subscriptions by id, in memory where it can.
type verifier struct {
	load    func(ctx context.Context, id string) (subscription, error)
	now     func() time.Time
	limit   *rate.Limiter
	flights singleflight.Group

	mu      sync.Mutex
	known   map[string]remembered
	unknown map[string]time.Time // until when
}

type remembered struct {
	subscription
	until time.Time
}

func newVerifier(load func(context.Context, string) (subscription, error), now func() time.Time) *verifier {
	return &verifier{load: load, now: now, limit: rate.NewLimiter(lookupRate, lookupBurst),
		known: map[string]remembered{}, unknown: map[string]time.Time{}}
}

// find returns the subscription with our id. The error is errUnknown when
// there is none, and another one when that could not be found out.
func (v *verifier) find(ctx context.Context, id string) (subscription, error) {
	now := v.now()
	v.mu.Lock()
	have, ok := v.known[id]
	until := v.unknown[id]
	v.mu.Unlock()
	switch {
	case ok && now.Before(have.until):
		return have.subscription, nil
	case now.Before(until):
		return subscription{}, errUnknown
	}
	result := v.flights.DoChan(id, func() (any, error) {
		// Ids that were found before are not somebody's guesses.
		if !ok && !v.limit.AllowN(now, 1) {
			return subscription{}, errBusy
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		s, err := v.load(ctx, id)
		v.remember(id, s, err, now)
		return s, err
	})
	select {
	case <-ctx.Done():
		return subscription{}, ctx.Err()
	case r := <-result:
		s, _ := r.Val.(subscription)
		return s, r.Err
	}
}

func (v *verifier) remember(id string, s subscription, err error, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err == nil:
		life := knownLife
		if s.SubscriptionID == "" {
			life = freshLife
		}
		delete(v.unknown, id)
		v.known[id] = remembered{s, now.Add(life)}
	case errors.Is(err, errUnknown):
		delete(v.known, id)
		if len(v.unknown) >= maxUnknown {
			clear(v.unknown)
		}
		v.unknown[id] = now.Add(unknownLife)
	}
}
