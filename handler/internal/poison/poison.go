// Package poison looks after the messages that failed too often. The Functions host
// moves them to a queue of its own, named as theirs with "-poison" at the end.
//
// It tells the logbook and the console which messages these are, and what they mean. It
// puts them back or removes them only when a person asks for it. What failed five times
// would fail again. It never handles a message itself.
package poison

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// Suffix ends the name of a poison queue. The Functions host moves a message
// there after maxDequeueCount failures (host.json).
const Suffix = "-poison"

// shown is how many messages of a queue are looked at. The service lets no more be read
// without taking them.
const shown = 32

// Source is a queue of the app, and what its messages mean to a technician.
type Source struct {
	Queue  *storage.Queue // the queue that messages are put back on
	Poison *storage.Queue // where those that failed are
	API    string         // the name in CIPP's logbook of what the queue is about
	// One and All say in a sentence what did not happen. One says it for the tenant in the
	// place of %s, All for all of them.
	One, All string
	// Then says what happens without a person, and what a person can do.
	Then string
	// Why tells what is known of why a tenant's messages failed, in sentences; ""
	// when nothing is. It may be nil.
	Why func(ctx context.Context, tenantID string) (string, error)
	// Queued notes that a message for a tenant was put on the queue; nil where
	// nothing is noted. Nothing is of light runs either: the schedule would wait
	// for a full run that nobody asked for.
	Queued func(ctx context.Context, tenantID string, at time.Time) error
}

// unknown is said where nothing tells why a message failed.
const unknown = "The app was stopped, or failed, before it could record why. Look into the app's own log (Application Insights) at that time."

// Message is a message that failed too often.
type Message struct {
	Queue    string // name of the queue that it was on first
	ID       string
	TenantID string    // "" when it is about all tenants, or cannot be read
	Tenant   string    // the tenant's name; "" when CIPP knows none
	Since    time.Time // UTC, when it failed for the last time
	What     string    // what did not happen
	Then     string    // what happens now, and what to do
	Readable bool      // it can be put back

	light bool // it asks for a light run, which has no turn in the schedule
}

// List is what waits in the poison queues.
type List struct {
	Messages []Message // of each queue the oldest 32
	More     int       // about how many more there are
	Many     []Many    // queues of which several messages can be put back
}

// Many is a queue with several messages that failed too often.
type Many struct {
	Queue    string // name of the queue that they were on first
	Messages int    // about how many
}

// Watch looks after poison queues. Its fields are set once and not changed
// afterwards.
type Watch struct {
	Sources []Source
	CIPP    *cipp.Store
	Table   *storage.Table // NinjaOneSyncState, which keeps what was told
	Most    int            // how many messages one PutBackAll puts back
	Now     func() time.Time
}

// List returns the messages that are in the poison queues now. It changes
// nothing.
func (w *Watch) List(ctx context.Context) (List, error) {
	var all List
	for _, s := range w.Sources {
		messages, more, err := w.look(ctx, s)
		if err != nil {
			return List{}, err
		}
		all.Messages, all.More = append(all.Messages, messages...), all.More+more
		readable := 0
		for _, m := range messages {
			if m.Readable {
				readable++
			}
		}
		if readable > 1 {
			all.Many = append(all.Many, Many{s.Queue.Name(), len(messages) + more})
		}
	}
	return all, nil
}

func (w *Watch) look(ctx context.Context, s Source) ([]Message, int, error) {
	peeked, err := s.Poison.Peek(ctx, shown)
	if err != nil {
		return nil, 0, err
	}
	more := 0
	if len(peeked) == shown {
		total, err := s.Poison.Length(ctx)
		if err != nil {
			return nil, 0, err
		}
		more = max(0, total-len(peeked))
	}
	messages := make([]Message, 0, len(peeked))
	for _, p := range peeked {
		m, err := w.describe(ctx, s, p)
		if err != nil {
			return nil, 0, err
		}
		messages = append(messages, m)
	}
	return messages, more, nil
}

// read reads a message. Its text is shown nowhere, for it may be anything.
func (s Source) read(p storage.Message) Message {
	m := Message{Queue: s.Queue.Name(), ID: p.ID, Since: p.Inserted, What: s.All, Then: s.Then + " " + unknown, Readable: true}
	var body struct {
		TenantID string `json:"tenantId"`
		Light    bool   `json:"light"`
	}
	if json.Unmarshal(p.Body, &body) != nil {
		m.Readable = false
		m.What = "A message on the queue " + m.Queue + " cannot be read, so it was put there by hand or by another program."
		m.Then = "Nothing was done for it, and nothing will be: remove it."
	} else {
		m.TenantID, m.light = guid.Parse(body.TenantID), body.Light
	}
	return m
}

// describe says what a message means.
func (w *Watch) describe(ctx context.Context, s Source, p storage.Message) (Message, error) {
	m := s.read(p)
	if m.TenantID == "" {
		return m, nil
	}
	t, err := w.CIPP.Tenant(ctx, m.TenantID)
	switch {
	case err == nil:
		m.Tenant = t.DefaultDomain
	case !errors.Is(err, cipp.ErrNoTenant):
		return m, err
	}
	m.What = fmt.Sprintf(s.One, cmp.Or(m.Tenant, m.TenantID))
	if s.Why == nil {
		return m, nil
	}
	why, err := s.Why(ctx, m.TenantID)
	if err != nil {
		return m, err
	}
	if why != "" {
		m.Then = s.Then + " " + why
	}
	return m, nil
}

// told is what the logbook knows of a poison queue.
type told struct {
	IDs  []string `json:"ids"`  // messages that it told of and that are still there
	More bool     `json:"more"` // it told that there are more than can be shown
}

// Tell writes a line to CIPP's logbook for each message that was not told
// before. One queue's failure does not hold back the others.
func (w *Watch) Tell(ctx context.Context) error {
	var errs []error
	for _, s := range w.Sources {
		if err := w.tell(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("tell of the messages on %s: %w", s.Poison.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (w *Watch) tell(ctx context.Context, s Source) error {
	messages, more, err := w.look(ctx, s)
	if err != nil {
		return err
	}
	row, err := w.Table.Find(ctx, partition, s.Queue.Name())
	if err != nil {
		return err
	}
	var before, now told
	// An unreadable row only means that its messages are told once more.
	_ = json.Unmarshal([]byte(row.String("Told")), &before)
	for _, m := range messages {
		if !slices.Contains(before.IDs, m.ID) {
			line := fmt.Sprintf("%s It failed too often, the last time at %s, and is now on the queue %s. %s",
				m.What, m.Since.Format("2006-01-02 15:04 UTC"), s.Poison.Name(), m.Then)
			if err := w.CIPP.Log(ctx, cipp.LogEntry{API: s.API, Tenant: m.Tenant, TenantID: m.TenantID, Severity: cipp.SeverityError, Message: line}); err != nil {
				return err
			}
		}
		now.IDs = append(now.IDs, m.ID)
	}
	if now.More = more > 0; now.More && !before.More {
		if err := w.CIPP.Log(ctx, cipp.LogEntry{API: s.API, Severity: cipp.SeverityError, Message: fmt.Sprintf(
			"About %d more messages are on the queue %s; each is told of when it is among the oldest %d. So many at once mostly have one cause. Look for it in the app's own log before you put them back.",
			more, s.Poison.Name(), shown)}); err != nil {
			return err
		}
	}
	if slices.Equal(before.IDs, now.IDs) && before.More == now.More {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return w.Table.Replace(ctx, storage.Entity{"PartitionKey": partition, "RowKey": s.Queue.Name(), "Told": string(text)})
}

// ErrGone means that the message is not in the poison queue any more.
var ErrGone = errors.New("the message is gone: somebody put it back or removed it, or it expired")

// ErrUnreadable means that a message cannot be put back, because nothing can
// read it.
var ErrUnreadable = errors.New("the message cannot be read, so it cannot be put back: remove it")

// PutBack puts a message back on the queue that it came from, and returns what
// it was. A crash in between leaves it on both, which is harmless: every
// message may be handled twice.
func (w *Watch) PutBack(ctx context.Context, queue, id string) (Message, error) {
	return w.take(ctx, queue, id, func(s Source, m Message, body []byte) error {
		if !m.Readable {
			return ErrUnreadable
		}
		return w.send(ctx, s, m, body)
	})
}

// longestBack bounds one PutBackAll: a page waits for it.
const longestBack = time.Minute

var errEnough = errors.New("it took long enough")

// PutBackAll puts the readable messages of a queue back: at most Most of them, for at
// most a minute. It tells how many it put back, and about how many are left. Called
// again, it goes on. After an error, what was put back stays so.
func (w *Watch) PutBackAll(ctx context.Context, queue string) (back, left int, err error) {
	s, ok := w.source(queue)
	if !ok {
		return 0, 0, ErrGone
	}
	end := w.Now().Add(longestBack)
	back, err = s.Poison.Take(ctx, w.Most, func(ctx context.Context, p storage.Message) (bool, error) {
		m := s.read(p)
		switch {
		case !m.Readable:
			return false, nil
		case w.Now().After(end):
			return false, errEnough
		}
		return true, w.send(ctx, s, m, p.Body)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return back, 0, err
	}
	left, err = s.Poison.Length(ctx)
	return back, left, err
}

// source finds a queue by its name.
func (w *Watch) source(queue string) (Source, bool) {
	i := slices.IndexFunc(w.Sources, func(s Source) bool { return strings.EqualFold(s.Queue.Name(), queue) })
	if i < 0 {
		return Source{}, false
	}
	return w.Sources[i], true
}

// send puts a message on the queue that it was on first. What is noted is the
// time before, since the message may be handled at once.
func (w *Watch) send(ctx context.Context, s Source, m Message, body []byte) error {
	at := w.Now()
	if err := s.Queue.Send(ctx, json.RawMessage(body), 0); err != nil || s.Queued == nil || m.TenantID == "" || m.light {
		return err
	}
	return s.Queued(ctx, m.TenantID, at)
}

// Remove removes a message for good, and returns what it was.
func (w *Watch) Remove(ctx context.Context, queue, id string) (Message, error) {
	return w.take(ctx, queue, id, func(Source, Message, []byte) error { return nil })
}

func (w *Watch) take(ctx context.Context, queue, id string, before func(Source, Message, []byte) error) (Message, error) {
	s, ok := w.source(queue)
	if !ok || id == "" {
		return Message{}, ErrGone
	}
	var found Message
	n, err := s.Poison.Take(ctx, 1, func(ctx context.Context, p storage.Message) (bool, error) {
		if p.ID != id {
			return false, nil
		}
		var err error
		if found, err = w.describe(ctx, s, p); err != nil {
			return false, err
		}
		return true, before(s, found, p.Body)
	})
	if err == nil && n == 0 {
		err = ErrGone
	}
	return found, err
}
