package notify

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errUnknown says that there is no subscription with an id.
var errUnknown = errors.New("no such subscription")

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
	// maxWaiting is how many notifications of such ids wait for one reading. Anybody can
	// shake hands. The others are answered as those of strangers are.
	maxWaiting = 500
)

// verifier finds subscriptions by id, in memory. It reads all rows at once, at most once
// every readEvery for all that ask. So to make ids up costs nothing.
type verifier struct {
	list func(ctx context.Context) (map[string]Subscription, error)
	now  func() time.Time
	// missed is told of a subscription that turned up after its id was taken for nobody's.
	missed func(Subscription)

	mu       sync.Mutex
	rows     map[string]Subscription
	began    time.Time // when the reading began that rows are from
	tried    time.Time // when the last reading began, whatever came of it
	failed   error     // what came of that
	under    *reading  // the one under way
	unknown  map[string]time.Time
	expected map[string]bool
}

// reading is one reading of all rows, for everybody who waits for it.
type reading struct {
	done    chan struct{} // closed when rows or err is set
	rows    map[string]Subscription
	err     error
	waiting int // notifications of expected ids that wait for it
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
func (v *verifier) find(ctx context.Context, id string) (Subscription, error) {
	if id == "" {
		return Subscription{}, errUnknown
	}
	for {
		s, r, since, err := v.look(id)
		if r == nil {
			return s, err
		}
		select {
		case <-ctx.Done():
			return Subscription{}, ctx.Err()
		case <-r.done:
		}
		if r.err != nil {
			return Subscription{}, r.err
		}
		if s, ok := r.rows[id]; ok {
			return s, nil
		}
		if since {
			v.forget(id)
			return Subscription{}, errUnknown
		}
	}
}

// look answers from memory. Otherwise it returns the reading to wait for, and whether an
// id that this reading lacks is nobody's. For an expected id only a later reading tells
// that.
func (v *verifier) look(id string) (s Subscription, wait *reading, since bool, err error) {
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
	expected := !known && v.expected[id] && (v.under == nil || v.under.waiting < maxWaiting)
	stranger := !known && !expected
	switch {
	case stranger && now.Before(v.unknown[id]):
		return Subscription{}, nil, false, errUnknown
	case stranger && now.Before(v.began.Add(readEvery)):
		// Whether that was right is seen with the next reading.
		v.remember(id)
		v.start()
		return Subscription{}, nil, false, errUnknown
	case stranger && v.under == nil && v.failed != nil && now.Before(v.tried.Add(readEvery)):
		return Subscription{}, nil, false, v.failed
	}
	since = stranger || v.under == nil
	wait = v.start()
	if expected {
		wait.waiting++
	}
	return Subscription{}, wait, since, nil
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
	var missed []Subscription
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
