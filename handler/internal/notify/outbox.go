package notify

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// gather is how long a message stays invisible. A device in a message that nobody can
	// have taken yet needs no second one. Whoever takes it reads the newer state.
	gather = time.Second
	// perMessage is how many device ids one message holds at most, far below
	// the size of a queue message.
	perMessage = 500
)

// work is what one POST asks for.
type work struct {
	devices map[string][]string // by tenant
	others  []Message
}

func newWork() *work { return &work{devices: map[string][]string{}} }

func (w *work) addDevice(tenantID, deviceID string) {
	w.devices[tenantID] = append(w.devices[tenantID], deviceID)
}

// add adds a message about a tenant as a whole, once.
func (w *work) add(m Message) {
	same := func(o Message) bool {
		return o.TenantID == m.TenantID && o.Event == m.Event && o.SubscriptionID == m.SubscriptionID
	}
	if !slices.ContainsFunc(w.others, same) {
		w.others = append(w.others, m)
	}
}

// outbox puts work into the queue. Of each tenant one message is on its way at a time,
// and what comes meanwhile goes into the next. So a burst costs few messages, and no
// notification waits for more than two of them.
type outbox struct {
	queue Queue
	now   func() time.Time

	mu      sync.Mutex
	tenants map[string]*box
}

type box struct {
	next    *batch
	sending bool
	queued  map[string]time.Time // device id to when its message becomes visible
}

type batch struct {
	ids  map[string]bool
	done chan struct{} // closed when err is set
	err  error
}

func newOutbox(queue Queue, now func() time.Time) *outbox {
	return &outbox{queue: queue, now: now, tenants: map[string]*box{}}
}

// put returns when all of the work is in the queue.
func (o *outbox) put(ctx context.Context, w *work) error {
	var waiting []*batch
	for tenantID, ids := range w.devices {
		if b := o.join(tenantID, ids); b != nil {
			waiting = append(waiting, b)
		}
	}
	for _, m := range w.others {
		if err := o.queue.Send(ctx, m, 0); err != nil {
			return err
		}
	}
	for _, b := range waiting {
		select {
		case <-b.done:
			if b.err != nil {
				return b.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// join adds devices to the tenant's next message and returns it. It returns nil when a
// message that nobody can have taken yet holds all of them.
func (o *outbox) join(tenantID string, ids []string) *batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.tenants[tenantID]
	if b == nil {
		b = &box{queued: map[string]time.Time{}}
		o.tenants[tenantID] = b
	}
	now := o.now()
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return now.Before(b.queued[id]) })
	if len(ids) == 0 {
		return nil
	}
	if b.next == nil {
		b.next = &batch{ids: map[string]bool{}, done: make(chan struct{})}
	}
	for _, id := range ids {
		b.next.ids[id] = true
	}
	joined := b.next
	if !b.sending {
		b.sending = true
		go o.send(tenantID, b)
	}
	return joined
}

// send sends the tenant's messages until there is none left.
func (o *outbox) send(tenantID string, b *box) {
	for {
		o.mu.Lock()
		current := b.next
		b.next = nil
		if current == nil {
			b.sending = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		ids := slices.Sorted(maps.Keys(current.ids))
		// Several requests wait for the message; it is nobody's alone.
		ctx, cancel := context.WithTimeout(context.Background(), answerTime)
		for chunk := range slices.Chunk(ids, perMessage) {
			visible := o.now().Add(gather)
			if current.err = o.queue.Send(ctx, Message{TenantID: tenantID, DeviceIDs: chunk}, gather); current.err != nil {
				break
			}
			o.queued(b, chunk, visible)
		}
		cancel()
		close(current.done)
	}
}

func (o *outbox) queued(b *box, ids []string, visible time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	maps.DeleteFunc(b.queued, func(_ string, until time.Time) bool { return !now.Before(until) })
	for _, id := range ids {
		b.queued[id] = visible
	}
}
