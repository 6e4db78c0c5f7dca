package notify

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
)

const (
	// maxToken is the longest validation token that is given back; Graph's
	// have a few hundred characters.
	maxToken = 4096
	// answerTime is how long storing a POST may take: Graph wants its answer
	// within three seconds.
	answerTime = 2500 * time.Millisecond
	// tellEvery is how often dropped notifications are worth a log line.
	tellEvery = time.Minute
	// maxStrays bounds the stray subscriptions that are remembered.
	maxStrays = 1000
)

// Receiver answers Graph at the notification URL: the handshake of new subscriptions,
// notifications and lifecycle notifications. It reads no header, believes nothing but
// the clientState, and does no more than to verify and to enqueue.
//
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
type Receiver struct {
	verifier *verifier
	outbox   *outbox
	Deps

	mu      sync.Mutex
	dropped map[string]int // by reason, since the last log line
	told    time.Time
	strays  map[string]bool // subscriptions reported as stray by this process
}

// Deps are what a Receiver works with.
type Deps struct {
	// Subscriptions reads all subscriptions, by our ids.
	Subscriptions func(context.Context) (map[string]Subscription, error)
	Queue         Queue // ninjaone-compliance
	Now           func() time.Time
	Log           *slog.Logger
}

// New returns a receiver.
func New(d Deps) *Receiver {
	r := &Receiver{outbox: newOutbox(d.Queue, d.Now), Deps: d, dropped: map[string]int{}, strays: map[string]bool{}}
	r.verifier = &verifier{list: d.Subscriptions, now: d.Now, missed: r.lookAt, unknown: map[string]time.Time{}, expected: map[string]bool{}}
	return r
}

// lookAt asks for a look at a tenant, because a notification was dropped while its
// Subscription was not known yet.
func (r *Receiver) lookAt(s Subscription) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if err := r.Queue.Send(ctx, Message{TenantID: s.TenantID}, 0); err != nil {
		r.Log.WarnContext(ctx, "a notification was dropped, and the tenant waits for its next sweep", "tenant", s.TenantID, "error", err)
	}
}

// ServeHTTP answers one POST of Graph. A handshake gets 200, and what is stored 202.
// What could not be stored gets 503, so that Graph sends it again, and what Graph would
// not send 4xx.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		http.Error(w, "the query is malformed", http.StatusBadRequest)
		return
	}
	if query.Has("validationToken") {
		if id := guid.Parse(query.Get("subscription")); id != "" {
			r.verifier.expect(id)
		}
		handshake(w, query.Get("validationToken"))
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), answerTime)
	defer cancel()
	// Whoever does not know the address of a subscription costs no more than a look into
	// memory.
	own, err := r.verifier.find(ctx, guid.Parse(query.Get("subscription")))
	if errors.Is(err, errUnknown) {
		r.drop(ctx, "POSTs to no subscription", 1)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if err != nil {
		r.notStored(ctx, w, 1)
		return
	}
	items, malformed, err := wire.DecodeNotifications(ctx, http.MaxBytesReader(w, req.Body, wire.MaxPost))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, "the body is not a collection of notifications", http.StatusBadRequest)
		return
	}
	r.drop(ctx, "malformed", malformed)
	work, err := r.verify(ctx, own, items)
	if err == nil {
		err = r.outbox.put(ctx, work)
	}
	if err != nil {
		r.notStored(ctx, w, len(items))
		return
	}
	r.reported(work)
	w.WriteHeader(http.StatusAccepted)
}

// handshake gives a validation token back, as plain text and nothing else.
func handshake(w http.ResponseWriter, token string) {
	if token == "" || len(token) > maxToken || !utf8.ValidString(token) {
		http.Error(w, "the validation token is not one of Graph's", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, token) // Graph asks again when it does not arrive
}

// notStored makes Graph send the notifications again.
func (r *Receiver) notStored(ctx context.Context, w http.ResponseWriter, items int) {
	r.drop(ctx, "not stored; Graph sends them again", items)
	http.Error(w, "the notifications could not be stored", http.StatusServiceUnavailable)
}

// verify finds out which items of a POST to a subscription's address are genuine, and
// what they ask for. The error means that storage could not be asked.
func (r *Receiver) verify(ctx context.Context, own Subscription, items []wire.Notification) (*work, error) {
	work := newWork()
	for _, it := range items {
		sub := own
		if !sub.genuine(it.ClientState) {
			// One POST may hold notifications of several subscriptions.
			var err error
			sub, err = r.verifier.find(ctx, idOf(it.ClientState))
			if err != nil && !errors.Is(err, errUnknown) {
				return nil, err
			}
			if err != nil || !sub.genuine(it.ClientState) {
				r.drop(ctx, "forged", 1)
				continue
			}
		}
		r.sort(ctx, work, sub, it)
	}
	return work, nil
}

// sort adds one genuine item to the work.
func (r *Receiver) sort(ctx context.Context, work *work, sub Subscription, it wire.Notification) {
	switch it.LifecycleEvent {
	case "":
	case EventReauthorize, EventRemoved:
		work.add(Message{TenantID: sub.TenantID, Event: it.LifecycleEvent, SubscriptionID: guid.Parse(it.SubscriptionID)})
		return
	default: // missed, and whatever Graph may come up with: look for oneself
		work.add(Message{TenantID: sub.TenantID})
		return
	}
	if stray := guid.Parse(it.SubscriptionID); stray != "" && sub.SubscriptionID != "" && stray != sub.SubscriptionID && r.newStray(stray) {
		work.add(Message{TenantID: sub.TenantID, Event: EventStray, SubscriptionID: stray})
	}
	device := deviceOf(it)
	if device == "" {
		r.drop(ctx, "without device", 1)
		return
	}
	work.addDevice(sub.TenantID, device)
}

// newStray reports whether a stray subscription is yet to be reported.
func (r *Receiver) newStray(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.strays[id] && len(r.strays) < maxStrays
}

// reported remembers the strays that are in the queue.
func (r *Receiver) reported(w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range w.others {
		if m.Event == EventStray {
			r.strays[m.SubscriptionID] = true
		}
	}
}

// drop counts items that are not acted on, and says so now and then.
func (r *Receiver) drop(ctx context.Context, reason string, n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped[reason] += n
	if now := r.Now(); now.Sub(r.told) >= tellEvery {
		r.told = now
		attrs := make([]any, 0, len(r.dropped))
		for why, n := range r.dropped {
			attrs = append(attrs, slog.Int(why, n))
		}
		clear(r.dropped)
		r.Log.WarnContext(ctx, "notifications dropped", slog.Group("items", attrs...))
	}
}

// deviceOf returns the directory object id of the device that changed; "" when
// the notification names none.
func deviceOf(it wire.Notification) string {
	return cmp.Or(guid.Parse(it.ResourceData.ID), guid.Parse(last(it.Resource)), guid.Parse(last(it.ResourceData.Path)))
}

// last returns the last segment of an OData path such as Devices/{id} or
// Devices('{id}').
func last(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	if _, inner, ok := strings.Cut(path, "('"); ok {
		path = strings.TrimSuffix(inner, "')")
	}
	return path
}
