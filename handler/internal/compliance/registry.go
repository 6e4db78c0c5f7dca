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

// loadSubscriptions reads all rows, by their ids.
func loadSubscriptions(ctx context.Context, table *storage.Table) (map[string]subscription, error) {
	rows := map[string]subscription{}
	for row, err := range table.List(ctx, storage.Eq("PartitionKey", subscriptionPartition)) {
		if err != nil {
			return nil, fmt.Errorf("list the subscriptions: %w", err)
		}
		s := subscriptionOf(row)
		rows[s.ID] = s
	}
	return rows, nil
}

const (
	knownLife = 10 * time.Minute // a row is read again so often
	freshLife = 5 * time.Second  // the same while Graph's id is not known
	// readEvery is the time between two readings. An id that a reading from within
	// it did not have is nobody's, as far as is known.
	readEvery = time.Second
	// unknownLife is how long an id is believed to be nobody's, and maxUnknown how
	// many such ids are remembered.
	unknownLife = time.Minute
	maxUnknown  = 10000
	// maxExpected is how many ids are remembered for which Graph has asked whether
	// this address answers.
	maxExpected = 1000
)

// verifier finds subscriptions by id, in memory. It reads the rows all together,
// at most once every readEvery for all that ask, so that it costs nothing to
// make ids up.
type verifier struct {
	list func(ctx context.Context) (map[string]subscription, error)
	now  func() time.Time
	// missed is told of a subscription that turned up after its id was taken for
	// nobody's: its row was too new for another process's handshake to be known.
	missed func(subscription)

	mu       sync.Mutex
	rows     map[string]subscription
	began    time.Time // when the reading began that rows are from
	tried    time.Time // when the last reading began, whatever came of it
	failed   error     // what came of that
	under    *reading  // the one under way
	unknown  map[string]time.Time
	expected map[string]bool
}

// reading is one reading of all rows, for everybody who waits for it.
type reading struct {
	done chan struct{} // closed when rows or err is set
	rows map[string]subscription
	err  error
}

func newVerifier(list func(context.Context) (map[string]subscription, error), now func() time.Time) *verifier {
	return &verifier{list: list, now: now, missed: func(subscription) {}, unknown: map[string]time.Time{}, expected: map[string]bool{}}
}

// expect notes that Graph is about to use an id. When a notification comes with
// it, no reading from before counts.
func (v *verifier) expect(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.rows[id]; known {
		return
	}
	if len(v.expected) >= maxExpected {
		clear(v.expected)
	}
	v.expected[id] = true
	delete(v.unknown, id)
}

// find returns the subscription with our id. The error is errUnknown when there
// is none, and another one when that could not be found out.
func (v *verifier) find(ctx context.Context, id string) (subscription, error) {
	for {
		s, r, since, err := v.look(id)
		if r == nil {
			return s, err
		}
		select {
		case <-ctx.Done():
			return subscription{}, ctx.Err()
		case <-r.done:
		}
		if r.err != nil {
			return subscription{}, r.err
		}
		if s, ok := r.rows[id]; ok {
			return s, nil
		}
		if since {
			v.forget(id)
			return subscription{}, errUnknown
		}
	}
}

// look answers from memory. Otherwise it returns the reading to wait for, and
// whether what that does not have is not there: an id that is expected asks for
// a reading from after it was asked for.
func (v *verifier) look(id string) (s subscription, wait *reading, since bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	s, known := v.rows[id]
	life := knownLife
	if s.SubscriptionID == "" {
		life = freshLife
	}
	if known && now.Before(v.began.Add(life)) {
		return s, nil, false, nil
	}
	stranger := !known && !v.expected[id]
	switch {
	case stranger && now.Before(v.unknown[id]):
		return subscription{}, nil, false, errUnknown
	case stranger && now.Before(v.began.Add(readEvery)):
		// Whether that was right is seen with the next reading.
		v.remember(id)
		v.start()
		return subscription{}, nil, false, errUnknown
	case stranger && v.under == nil && v.failed != nil && now.Before(v.tried.Add(readEvery)):
		return subscription{}, nil, false, v.failed
	case v.under != nil:
		return subscription{}, v.under, stranger, nil
	}
	return subscription{}, v.start(), true, nil
}

// start starts a reading unless one is under way, and returns it.
func (v *verifier) start() *reading {
	if v.under == nil {
		v.under = &reading{done: make(chan struct{})}
		go v.read(v.under, readEvery-v.now().Sub(v.tried))
	}
	return v.under
}

// read reads all rows, after the pause that is left since the last time.
func (v *verifier) read(r *reading, pause time.Duration) {
	if pause > 0 {
		<-time.After(pause)
	}
	v.mu.Lock()
	v.tried = v.now()
	v.mu.Unlock()
	// Many wait for it; it is nobody's alone.
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	r.rows, r.err = v.list(ctx)
	v.mu.Lock()
	v.under, v.failed = nil, r.err
	var missed []subscription
	if r.err == nil {
		v.rows, v.began = r.rows, v.tried
		for id, s := range v.rows {
			if _, denied := v.unknown[id]; denied {
				delete(v.unknown, id)
				missed = append(missed, s)
			}
		}
	}
	v.mu.Unlock()
	close(r.done)
	for _, s := range missed {
		v.missed(s)
	}
}

// forget notes that an id is nobody's, so that it is not expected any more.
func (v *verifier) forget(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.expected, id)
	v.remember(id)
}

// remember remembers an id as nobody's.
func (v *verifier) remember(id string) {
	if len(v.unknown) >= maxUnknown {
		clear(v.unknown)
	}
	v.unknown[id] = v.now().Add(unknownLife)
}
