package pacing

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/ninjaone/ninjaonetest"
	"cipp-ninjaone/handler/internal/storage"
)

// table is a table of rows in memory.
type table struct {
	mu      sync.Mutex
	rows    map[string]storage.Entity
	version int
	cut     bool
	asked   int
}

func (tb *table) do(f func() error) error {
	<-time.After(5*time.Millisecond + rand.N(20*time.Millisecond))
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.asked++
	if tb.cut {
		return errUnreachable
	}
	return f()
}

func (tb *table) set(flag *bool, to bool) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	*flag = to
}

func (tb *table) requests() int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.asked
}

func (tb *table) put(e storage.Entity) {
	tb.version++
	e["odata.etag"] = fmt.Sprint(tb.version)
	tb.rows[e.RowKey()] = e
}

func (tb *table) Find(_ context.Context, _, row string) (e storage.Entity, err error) {
	err = tb.do(func() error {
		e = tb.rows[row]
		return nil
	})
	return e, err
}

func (tb *table) Insert(_ context.Context, e storage.Entity) error {
	return tb.do(func() error {
		if tb.rows[e.RowKey()] != nil {
			return storage.ErrExists
		}
		tb.put(e)
		return nil
	})
}

func (tb *table) ReplaceIfMatch(_ context.Context, e storage.Entity, etag string) error {
	return tb.do(func() error {
		if tb.rows[e.RowKey()].ETag() != etag {
			return storage.ErrConflict
		}
		tb.put(e)
		return nil
	})
}

// world is an instance with the processes that call it.
type world struct {
	*instance
	t       *testing.T
	limits  Limits
	table   *table
	service *service
	slots   int
}

func newWorld(t *testing.T, i *instance, most float64) *world {
	i.began = time.Now()
	if i.latency == 0 {
		i.latency = 100 * time.Millisecond
	}
	return &world{instance: i, t: t, limits: Limits{5, most}, slots: 4, service: newService(), table: &table{rows: map[string]storage.Entity{}}}
}

// machine is a process of the handler as far as its calls go.
type machine struct {
	world  *world
	pace   *Pace
	pacer  *Pacer
	gate   *ninjaone.Gate
	syncs  *ninjaone.Client
	people *ninjaone.Client
	proc   *process

	syncRate, peopleRate atomic.Value
	stop                 context.CancelFunc
	done                 sync.WaitGroup
	ctx                  context.Context
}

func (w *world) machine() *machine {
	quiet := slog.New(slog.DiscardHandler)
	m := &machine{world: w, gate: ninjaone.NewGate(), proc: &process{service: w.service}}
	m.ctx, m.stop = context.WithCancel(w.t.Context())
	m.pace = NewPace(PaceDeps{Rows: w.table, Limits: w.limits, Hold: m.gate.Hold, Now: time.Now, Log: quiet})
	pool := func(part *Part) *ninjaone.Pool {
		calls := ninjaonetest.Deps("", ninjaonetest.Secret("invented"))
		calls.Rate, calls.Gate, calls.Meter, calls.Transport = 5, m.gate, part, w.instance
		return ninjaone.NewPool(calls)
	}
	client := func(pool *ninjaone.Pool) *ninjaone.Client {
		c, err := pool.Client("eu.ninjarmm.com", "invented")
		must(w.t, err)
		return c
	}
	syncs, people := m.pace.Part("sync", 0.7, true), m.pace.Part("people", 0.3, false)
	forSyncs, forPeople := pool(syncs), pool(people)
	m.pacer = New(Config{Lane: Lane{Name: "sync", Slots: w.slots}, Board: m.pace, SetRate: m.noting(&m.syncRate, forSyncs), Logger: quiet})
	syncs.Drive(m.pacer.SetRate)
	syncs.Press(m.pacer.Press)
	people.Drive(m.noting(&m.peopleRate, forPeople))
	m.syncs, m.people = client(forSyncs), client(forPeople)
	m.pacer.take = m.proc.lease
	m.pace.Watch("eu.ninjarmm.com")
	return m
}

// noting notes the rate of a pool that it sets.
func (m *machine) noting(rate *atomic.Value, pool *ninjaone.Pool) func(float64) {
	return func(perSecond float64) {
		pool.SetRate(perSecond)
		rate.Store(perSecond)
	}
}

func (m *machine) rates() (syncs, people float64) {
	return m.syncRate.Load().(float64), m.peopleRate.Load().(float64)
}

// work makes as many calls as it may in a number of runs, eight at once in each.
func (m *machine) work(runs int) *machine {
	for range runs {
		m.done.Go(func() {
			for m.ctx.Err() == nil {
				slot, err := m.pacer.Acquire(m.ctx, time.Minute)
				if err != nil {
					continue
				}
				var calls sync.WaitGroup
				for range 8 {
					calls.Go(func() {
						for slot.Context().Err() == nil {
							if _, err := m.syncs.Organization(slot.Context(), 1); err != nil {
								<-time.After(time.Second)
							}
						}
					})
				}
				calls.Wait()
				slot.Release()
			}
		})
	}
	return m
}

// end ends a process in good order.
func (m *machine) end() {
	m.stop()
	m.done.Wait()
	m.pacer.Close()
}

func (m *machine) now() float64 {
	m.pace.mu.Lock()
	defer m.pace.mu.Unlock()
	return m.pace.applied
}

// expect holds the figures of a stretch of time to what is promised.
func (w *world) expect(from, to time.Duration, limit float64) {
	w.t.Helper()
	passed, turned := w.steady(from, to)
	promised(w.t, passed, turned, limit, 0.85)
}

// steady is figures, of a pace that does not swing in stretches of a minute. A pause that
// NinjaOne asks for within one is no swing.
func (w *world) steady(from, to time.Duration) (passed, turned float64) {
	w.t.Helper()
	passed, turned = w.figures(from, to)
	lowest, highest := math.Inf(1), 0.0
	for at := from; at+time.Minute <= to; at += time.Minute {
		p, _ := w.figures(at, at+time.Minute)
		lowest, highest = min(lowest, p), max(highest, p)
	}
	if lowest < 0.8*passed || highest > 1.2*passed {
		w.t.Errorf("the pace goes from %.2f to %.2f around %.2f", lowest, highest, passed)
	}
	return passed, turned
}

// promised wants this part of the limit used at least, and few calls turned away. All are
// calls per second.
func promised(t *testing.T, passed, turned, limit, least float64) {
	t.Helper()
	use, refused := passed/limit, turned/(passed+turned)
	t.Logf("%.2f of %g calls a second, %.1f %%; %.2f %% turned away", passed, limit, use*100, refused*100)
	if use < least {
		t.Errorf("%.1f %% of the limit is used", use*100)
	}
	if refused > 0.02 {
		t.Errorf("%.2f %% of the calls are turned away", refused*100)
	}
}

func paced(t *testing.T, i *instance, most float64, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, i, most)
		test(w)
		pass(w.t, time.Minute)
	})
}

func per(size time.Duration, limit float64) int { return int(math.Round(limit * size.Seconds())) }

// TestHiddenLimits finds the limit of an instance, whatever it is and however
// NinjaOne counts.
func TestHiddenLimits(t *testing.T) {
	for _, limit := range []float64{3, 5, 12, 40} {
		models := map[string]func() *instance{
			"bucket":             func() *instance { return &instance{limit: &bucket{perSecond: limit, burst: math.Ceil(limit)}} },
			"bucket of one":      func() *instance { return &instance{limit: &bucket{perSecond: limit, burst: 1.5}} },
			"deep bucket":        func() *instance { return &instance{limit: &bucket{perSecond: limit, burst: 4 * limit}} },
			"window of a second": func() *instance { return &instance{limit: &window{size: time.Second, calls: per(time.Second, limit)}} },
			"sliding second":     func() *instance { return &instance{limit: &sliding{size: time.Second, calls: per(time.Second, limit)}} },
			"Retry-After": func() *instance {
				return &instance{retryAfter: "2", limit: &bucket{perSecond: limit, burst: math.Ceil(limit)}}
			},
			"page": func() *instance {
				return &instance{html: true, limit: &bucket{perSecond: limit, burst: math.Ceil(limit)}}
			},
			"slow": func() *instance { return &instance{limit: noLimit{}, capacity: limit} },
		}
		for name, model := range models {
			t.Run(fmt.Sprintf("%g/%s", limit, name), func(t *testing.T) {
				paced(t, model(), max(20, 1.5*limit), func(w *world) {
					m := w.machine().work(2)
					pass(w.t, 3*time.Minute)
					before := w.waits()
					pass(w.t, 3*time.Minute)
					w.expect(time.Minute, 6*time.Minute, limit)
					passed, turned := w.figures(3*time.Minute, 6*time.Minute)
					usual := w.latency.Seconds() + 1/limit
					mean := (w.waits() - before).Seconds() / (3 * 60 * (passed + turned))
					t.Logf("a call is answered after %.2f s, where %.2f s are usual", mean, usual)
					if mean > 3*usual {
						t.Error("calls wait for each other")
					}
					m.end()
				})
			})
		}
	}
}

// TestLongWindows finds a limit that counts over a minute. The first minutes show
// how much that is, and are paid for. How far pauses and minutes coincide is chance: one
// world in forty uses less than the promise, which is for the mean.
func TestLongWindows(t *testing.T) {
	for _, limit := range []float64{5, 12} {
		for name, model := range map[string]func() *instance{
			"window of a minute": func() *instance { return &instance{limit: &window{size: time.Minute, calls: per(time.Minute, limit)}} },
			"with Retry-After": func() *instance {
				return &instance{retryAfter: "5", limit: &window{size: time.Minute, calls: per(time.Minute, limit)}}
			},
			"sliding minute":     func() *instance { return &instance{limit: &sliding{size: time.Minute, calls: per(time.Minute, limit)}} },
			"bucket of a minute": func() *instance { return &instance{limit: &bucket{perSecond: limit, burst: 60 * limit}} },
			"bucket of a third":  func() *instance { return &instance{limit: &bucket{perSecond: limit, burst: 20 * limit}} },
		} {
			t.Run(fmt.Sprintf("%g/%s", limit, name), func(t *testing.T) {
				const worlds = 5
				passed, turned := 0.0, 0.0
				for range worlds {
					paced(t, model(), max(20, 1.5*limit), func(w *world) {
						m := w.machine().work(2)
						pass(w.t, 15*time.Minute)
						p, q := w.figures(3*time.Minute, 15*time.Minute)
						passed, turned = passed+p/worlds, turned+q/worlds
						m.end()
					})
				}
				promised(t, passed, turned, limit, 0.75)
			})
		}
	}
}

// TestLimitChanges follows a limit that falls and rises at noon. Chance has a part in
// each world, so that their mean is judged.
func TestLimitChanges(t *testing.T) {
	stretches := []struct {
		from, to time.Duration
		limit    float64
	}{{time.Minute, 5 * time.Minute, 24}, {5*time.Minute + 20*time.Second, 8 * time.Minute, 8}, {9 * time.Minute, 11 * time.Minute, 24}}
	for name, make := range map[string]func(limit float64) hidden{
		"bucket":        func(limit float64) hidden { return &bucket{perSecond: limit, burst: math.Ceil(limit)} },
		"bucket of one": func(limit float64) hidden { return &bucket{perSecond: limit, burst: 1.5} },
		"window":        func(limit float64) hidden { return &window{size: time.Second, calls: int(limit)} },
	} {
		for after, wait := range map[string]string{"backoff": "", "Retry-After 1": "1", "Retry-After 2": "2"} {
			t.Run(name+" "+after, func(t *testing.T) {
				const worlds = 3
				var passed, turned [3]float64
				for range worlds {
					paced(t, &instance{limit: make(24), retryAfter: wait}, 30, func(w *world) {
						m := w.machine().work(2)
						pass(w.t, 5*time.Minute)
						w.setLimit(make(8))
						pass(w.t, 3*time.Minute)
						w.setLimit(make(24))
						pass(w.t, time.Minute)
						if got := m.now(); got < 16 {
							t.Errorf("a minute after the limit rose from 8 to 24 the pace is %.1f", got)
						}
						pass(w.t, 2*time.Minute)
						for i, s := range stretches {
							p, q := w.steady(s.from, s.to)
							passed[i], turned[i] = passed[i]+p/worlds, turned[i]+q/worlds
						}
						m.end()
					})
				}
				for i, s := range stretches {
					promised(t, passed[i], turned[i], s.limit, 0.85)
				}
			})
		}
	}
}

// TestSharedWithAnotherClient leaves another client of the instance its calls.
func TestSharedWithAnotherClient(t *testing.T) {
	for _, limit := range []float64{12, 40} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			paced(t, &instance{limit: &bucket{perSecond: limit, burst: limit}}, 60, func(w *world) {
				ctx, stop := context.WithCancel(w.t.Context())
				go func() { // a third of the limit, unevenly
					for ctx.Err() == nil {
						<-time.After(rand.N(time.Duration(6 / limit * float64(time.Second))))
						w.mu.Lock()
						w.limit.take(time.Now())
						w.mu.Unlock()
					}
				}()
				m := w.machine().work(2)
				pass(w.t, 8*time.Minute)
				w.expect(time.Minute, 8*time.Minute, limit*2/3)
				m.end()
				stop()
			})
		})
	}
}

// TestSeveralProcesses shares the pace among processes that come, end and die. They
// begin together, and may take two minutes to find it, as after each change: the slots of
// one that died come free within one.
func TestSeveralProcesses(t *testing.T) {
	for name, model := range map[string]func() *instance{
		"bucket": func() *instance { return &instance{limit: &bucket{perSecond: 12, burst: 12}} },
		"window": func() *instance { return &instance{limit: &window{size: time.Second, calls: 12}} },
		"slow":   func() *instance { return &instance{limit: noLimit{}, capacity: 12} },
	} {
		for _, slots := range []int{4, 16} {
			t.Run(fmt.Sprintf("%s, %d slots", name, slots), func(t *testing.T) {
				paced(t, model(), 20, func(w *world) {
					w.slots = slots
					a, b, c := w.machine().work(slots/2), w.machine().work(slots/2), w.machine().work(1)
					pass(w.t, 5*time.Minute)
					w.expect(2*time.Minute, 5*time.Minute, 12)
					w.killed(b)
					pass(w.t, 5*time.Minute)
					w.expect(7*time.Minute, 10*time.Minute, 12)
					c.end()
					d := w.machine().work(slots / 2)
					pass(w.t, 5*time.Minute)
					w.expect(12*time.Minute, 15*time.Minute, 12)
					a.end()
					d.end()
				})
			})
		}
	}
}

// killed ends a process in the middle: it tells nobody.
func (w *world) killed(m *machine) {
	m.proc.set(&m.proc.dead, true)
	m.end()
}

// TestRestart goes on at once with what an earlier process has found out.
func TestRestart(t *testing.T) {
	paced(t, &instance{limit: &bucket{perSecond: 16, burst: 16}}, 20, func(w *world) {
		m := w.machine().work(2)
		pass(w.t, 4*time.Minute)
		former := m.now()
		if former < 12 {
			t.Errorf("the pace before the restart is %g", former)
		}
		m.end()
		pass(w.t, 3*time.Hour)
		again := time.Since(w.began)
		m = w.machine().work(2)
		pass(w.t, 10*time.Second)
		if got, _ := w.figures(again+time.Second, again+10*time.Second); got < 0.6*former {
			t.Errorf("%.1f calls a second after the restart, %.1f before", got, former)
		}
		m.end()

		w.limits.Start = 4 // what was learnt under 5 holds no more
		m = w.machine().work(1)
		pass(w.t, 2*time.Second)
		if got := m.now(); got != 4 {
			t.Errorf("the pace is %g under another setting", got)
		}
		m.end()
	})
}

// TestIdlePartsAreUsed lets each lane use all of the pace while the others make no
// calls, and gives a lane its part back within five seconds, in another process
// too.
func TestIdlePartsAreUsed(t *testing.T) {
	paced(t, &instance{limit: noLimit{}}, 10, func(w *world) {
		a, b := w.machine().work(1), w.machine()
		pass(w.t, 2*time.Minute)
		if got, _ := a.rates(); math.Abs(got-10) > 0.01 {
			t.Errorf("syncs alone have %g of 10 calls a second", got)
		}
		ctx, stop := context.WithCancel(w.t.Context())
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				for ctx.Err() == nil {
					_, _ = b.people.Organization(ctx, 1)
				}
			})
		}
		pass(w.t, 5*time.Second)
		if got, _ := a.rates(); math.Abs(got-7) > 0.01 {
			t.Errorf("syncs have %g of 10 calls a second beside people", got)
		}
		if _, got := b.rates(); math.Abs(got-3) > 0.01 {
			t.Errorf("people have %g of 10 calls a second", got)
		}
		pass(w.t, time.Minute)
		a.end()
		pass(w.t, laneRest+2*step)
		if _, got := b.rates(); math.Abs(got-10) > 0.01 {
			t.Errorf("people alone have %g of 10 calls a second", got)
		}
		stop()
		calls.Wait()
	})
}

// TestTurnedAwayForEver goes down to the floor, and leaves NinjaOne alone.
func TestTurnedAwayForEver(t *testing.T) {
	for start, floor := range map[float64]float64{5: 1, 0.5: 0.5} {
		paced(t, &instance{limit: &window{size: time.Hour}}, 20, func(w *world) {
			w.limits.Start = start
			m := w.machine().work(2)
			pass(w.t, 5*time.Minute)
			if got := m.now(); got != floor {
				t.Errorf("the pace is %g, want %g", got, floor)
			}
			if _, turned := w.figures(time.Minute, 5*time.Minute); turned > 0.2 {
				t.Errorf("%.2f calls a second are turned away", turned)
			}
			m.end()
		})
	}
}

// TestRowOutOfReach goes on with the last pace that is known, lowers it by itself,
// and raises it when the row can be written again.
func TestRowOutOfReach(t *testing.T) {
	paced(t, &instance{limit: &bucket{perSecond: 12, burst: 12}}, 20, func(w *world) {
		m := w.machine().work(2)
		pass(w.t, 3*time.Minute)
		w.table.set(&w.table.cut, true)
		before := m.now()
		pass(w.t, time.Minute)
		if got := m.now(); got > before {
			t.Errorf("the pace rose from %g to %g unknown to the others", before, got)
		}
		w.setLimit(&bucket{perSecond: 6, burst: 6})
		pass(w.t, 2*time.Minute)
		if got := m.now(); got > 6.5 {
			t.Errorf("the pace is %g at a limit of 6", got)
		}
		w.table.set(&w.table.cut, false)
		w.setLimit(&bucket{perSecond: 12, burst: 12})
		pass(w.t, 90*time.Second)
		if got := m.now(); got < 9 {
			t.Errorf("the pace is %g when the row can be written again", got)
		}
		m.end()
	})
}

// TestQuietProcess asks for nothing while it makes no calls.
func TestQuietProcess(t *testing.T) {
	paced(t, &instance{limit: noLimit{}}, 20, func(w *world) {
		m := w.machine().work(1)
		pass(w.t, time.Minute)
		m.end()
		pass(w.t, time.Minute)
		asked := w.table.requests()
		if most := 2 * int(time.Minute/step) * 2; asked > most {
			t.Errorf("%d requests for a minute of calls", asked)
		}
		pass(w.t, time.Hour)
		if got := w.table.requests(); got != asked {
			t.Errorf("%d requests while idle", got-asked)
		}
	})
}

// TestWaitingIsHeard gives a process that waits one of the slots that another
// holds without a run.
func TestWaitingIsHeard(t *testing.T) {
	paced(t, &instance{limit: noLimit{}}, 20, func(w *world) {
		a, b := w.machine().work(1), w.machine()
		pass(w.t, time.Minute)
		slot, err := b.pacer.Acquire(b.ctx, 45*time.Second)
		if err != nil {
			t.Errorf("a process that waits gets no slot: %v", err)
		} else {
			slot.Release()
		}
		a.end()
		b.end()
	})
}
