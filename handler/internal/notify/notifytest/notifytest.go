// Package notifytest has a clock and a queue for tests of what sends messages to
// the queue ninjaone-compliance.
package notifytest

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// Clock is real time, moved ahead.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Advance moves the clock ahead.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// Queue keeps messages in place of the queue service, without delays. Its fields
// are to be read when nothing sends.
type Queue[M any] struct {
	Parse    func([]byte) (M, error)
	Messages []M
	Delays   []time.Duration
	Sent     int // in all

	mu   sync.Mutex
	down error
}

// Send keeps a message.
func (q *Queue[M]) Send(_ context.Context, v any, delay time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return q.down
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	m, err := q.Parse(text)
	if err != nil {
		return err
	}
	q.Messages, q.Delays = append(q.Messages, m), append(q.Delays, delay)
	q.Sent++
	return nil
}

// Take empties the queue.
func (q *Queue[M]) Take() []M {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.Messages
	q.Messages, q.Delays = nil, nil
	return m
}

// Fail makes each Send fail; nil ends that.
func (q *Queue[M]) Fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = err
}
