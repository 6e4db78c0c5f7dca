package pacing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

var errUnreachable = errors.New("storage cannot be reached")

// service stands in for blob leases, in the simulated time of synctest.
type service struct {
	mu       sync.Mutex
	grants   map[string]*fakeLease // by blob
	signals  map[string]map[*process]bool
	requests int
}

func newService() *service {
	return &service{grants: map[string]*fakeLease{}, signals: map[string]map[*process]bool{}}
}

// Raise implements Board.
func (pr *process) Raise(signal string, up bool) {
	if pr.is(&pr.cut) && up {
		return
	}
	pr.service.mu.Lock()
	defer pr.service.mu.Unlock()
	if pr.service.signals[signal] == nil {
		pr.service.signals[signal] = map[*process]bool{}
	}
	pr.service.signals[signal][pr] = up
}

// Raised implements Board.
func (pr *process) Raised(signal string) bool {
	pr.service.mu.Lock()
	defer pr.service.mu.Unlock()
	for other, up := range pr.service.signals[signal] {
		if up && other != pr && !other.is(&other.dead) {
			return !pr.is(&pr.cut)
		}
	}
	return false
}

// process is what the service knows of one process of the handler.
type process struct {
	*Pacer
	service *service
	meter   *meter

	mu   sync.Mutex
	cut  bool // storage cannot be reached
	dead bool // killed: its code goes on in the test, but nobody hears of it
	hang bool // the next request is answered only when it is too late
}

func (pr *process) is(flag *bool) bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return *flag
}

func (pr *process) set(flag *bool, to bool) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	*flag = to
}

// fakeLease keeps a lease as storage.Lease does.
type fakeLease struct {
	pr      *process
	name    string
	expires time.Time // by the service's count; guarded by service.mu
	ctx     context.Context
	cancel  context.CancelCauseFunc
	once    sync.Once
}

func (l *fakeLease) Context() context.Context { return l.ctx }

func (l *fakeLease) Release() {
	l.once.Do(func() {
		if !errors.Is(context.Cause(l.ctx), storage.ErrLeaseLost) && !l.pr.is(&l.pr.cut) && !l.pr.is(&l.pr.dead) {
			delay()
			l.pr.service.free(l)
		}
		l.cancel(context.Canceled)
	})
}

// free ends a lease, if it is still the present one, as a release does and as
// anybody can who breaks it.
func (s *service) free(l *fakeLease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grants[l.name] == l {
		delete(s.grants, l.name)
	}
}

// holder returns the present holder of a blob's lease, nil for none.
func (s *service) holder(name string) *fakeLease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.grants[name]; l != nil && time.Now().Before(l.expires) {
		return l
	}
	return nil
}

func (s *service) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// delay is how long a request takes.
func delay() { <-time.After(rand.N(100 * time.Millisecond)) }

func (pr *process) lease(ctx context.Context, name string, duration time.Duration) (lease, error) {
	begun := time.Now()
	delay()
	if pr.is(&pr.cut) || pr.is(&pr.dead) {
		return nil, errUnreachable
	}
	s := pr.service
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if l := s.grants[name]; l != nil && time.Now().Before(l.expires) {
		return nil, fmt.Errorf("%s: %w", name, storage.ErrLeaseTaken)
	}
	l := &fakeLease{pr: pr, name: name, expires: time.Now().Add(duration)}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	s.grants[name] = l
	if pr.is(&pr.hang) {
		pr.set(&pr.hang, false)
		s.mu.Unlock()
		<-time.After(takeTimeout + time.Second)
		s.mu.Lock()
		return l, nil
	}
	go l.keep(begun.Add(duration*5/6), duration)
	return l, nil
}

func (l *fakeLease) keep(ends time.Time, duration time.Duration) {
	wait := duration / 3
	for {
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			return
		}
		if l.pr.is(&l.pr.dead) {
			return
		}
		begun := time.Now()
		delay()
		s := l.pr.service
		s.mu.Lock()
		renewed, gone := false, s.grants[l.name] != l
		if !gone && !l.pr.is(&l.pr.cut) {
			l.expires = time.Now().Add(duration)
			renewed = true
		}
		s.mu.Unlock()
		switch {
		case renewed:
			ends, wait = begun.Add(duration*5/6), duration/3
		case gone && !l.pr.is(&l.pr.cut), time.Until(ends) <= time.Second:
			l.cancel(storage.ErrLeaseLost)
			return
		default:
			wait = time.Second
		}
	}
}

// meter adds up what all processes grant themselves.
type meter struct {
	t     *testing.T
	limit float64

	mu    sync.Mutex
	rates map[*process]float64
	most  float64
	moved chan struct{} // closed at the next change
}

func newMeter(t *testing.T, limit float64) *meter {
	return &meter{t: t, limit: limit, rates: map[*process]float64{}, moved: make(chan struct{})}
}

func (m *meter) set(pr *process, rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if pr.is(&pr.dead) {
		return
	}
	m.rates[pr] = rate
	sum := 0.0
	for _, r := range m.rates {
		sum += r
	}
	m.most = max(m.most, sum)
	if sum > m.limit*(1+1e-9) {
		m.t.Errorf("all processes together make %g calls per second, more than %g", sum, m.limit)
	}
	close(m.moved)
	m.moved = make(chan struct{})
}

// kill takes a process that was killed out of the sum.
func (m *meter) kill(pr *process) {
	pr.set(&pr.dead, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rates, pr)
}

func (m *meter) rate(pr *process) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rates[pr]
}

// await waits until the process has the rate.
func (m *meter) await(pr *process, rate float64) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	for {
		m.mu.Lock()
		now, moved := m.rates[pr], m.moved
		m.mu.Unlock()
		if now == rate {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			m.t.Fatalf("the rate is %g and does not become %g", now, rate)
		}
	}
}

// lane makes processes with the same settings.
type lane struct {
	service *service
	meter   *meter
	config  Config
}

func newLane(t *testing.T, slots, runsPerSlot int, rate float64) *lane {
	return &lane{newService(), newMeter(t, rate), Config{
		Lane: Lane{"sync", slots, rate}, RunsPerSlot: runsPerSlot,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}}
}

func (la *lane) process() *process {
	pr := &process{service: la.service, meter: la.meter}
	config := la.config
	config.SetRate = func(rate float64) { la.meter.set(pr, rate) }
	config.Board = pr
	pr.Pacer = New(config)
	pr.take = pr.lease
	return pr
}

// must acquires a slot.
func (pr *process) must(t *testing.T, maxWait time.Duration) *Slot {
	t.Helper()
	s, err := pr.Acquire(t.Context(), maxWait)
	must(t, err)
	return s
}

// simulate runs the test in simulated time, and gives what it released time to
// end.
func simulate(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t)
		pass(t, time.Minute)
	})
}

// pass lets simulated time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
