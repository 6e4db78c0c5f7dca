package pacing

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	// reportLife is how long a process's report counts. A process at work reports again
	// before.
	reportLife = 15 * time.Second
	// crowd is how many calls wait where more slots serve. The few that a sync reads
	// with never are so many.
	crowd = 3
	// quiet is how long after its last call a process that is alone looks at the row.
	quiet = step * 5 / 4
	// laneRest is how long after its last call a lane keeps its part.
	laneRest = 10 * time.Second
	// rowTimeout bounds a look at the row.
	rowTimeout = 3 * time.Second
	// rowTries is how often a row is written that others change at the same time.
	rowTries = 5
)

// Rows is where the row of an instance is kept: a storage.Table.
type Rows interface {
	Find(ctx context.Context, partition, row string) (storage.Entity, error)
	Insert(ctx context.Context, e storage.Entity) error
	ReplaceIfMatch(ctx context.Context, e storage.Entity, etag string) error
}

// PaceDeps is what a Pace needs.
type PaceDeps struct {
	// Rows keeps what is learnt.
	Rows Rows
	// Limits are the same in all processes.
	Limits Limits
	// The pace calls Hold when no call may start before a time. It is normally
	// ninjaone.Gate.Hold.
	Hold func(until time.Time)
	// Now tells the time.
	Now func() time.Time
	// Log receives a line for each change of the pace by this process.
	Log *slog.Logger
}

// Pace is one process's part in finding and dividing how many calls NinjaOne
// takes. While calls are made it reads the row of the instance every few seconds,
// and tells there what it sees. It is safe for concurrent use.
type Pace struct {
	d    PaceDeps
	id   string        // of this process
	wake chan struct{} // tells the loop not to wait

	mu       sync.Mutex
	instance string // host; "" before the first call
	row      shared // as last read or written, with what was seen since
	parts    []*Part
	running  bool      // the loop is
	wants    []string  // signals of this process, sorted
	listened time.Time // when signals of others were last asked for

	applied, former float64 // the pace in force, and before
	since           time.Time

	pending []func(shared) shared // seen since the row was last written
	told    report                // what the row holds of this process
	passed  int                   // calls since the row was last written
	window  int                   // calls since looked
	looked  time.Time             // when rate was last measured
	rate    float64
	recent  seconds
	usual   map[string]time.Duration // how long answers take, by call
	slow    []float64                // how many times as long they took, since looked
	slowly  float64                  // the median of it when the rate was measured
}

// Part is the part of the pace that a lane has. It is the meter of the lane's
// calls.
type Part struct {
	pace   *Pace
	lane   string
	share  float64
	leased bool
	set    func(callsPerSecond float64)
	press  func()
	last   time.Time // of a call
}

// NewPace returns the Pace of a process. It makes no request before Watch or the
// first call.
func NewPace(d PaceDeps) *Pace {
	p := &Pace{d: d, id: rand.Text()[:8], wake: make(chan struct{}, 1), usual: map[string]time.Duration{}}
	p.row = shared{learnt: unknown(d.Limits, d.Now())}
	p.applied, p.former = d.Limits.Start, d.Limits.Start
	return p
}

// Part gives a lane its share of the pace, in [0,1]. The shares of all lanes make 1, and
// all lanes are there before the first call. The processes that use a lane divide its
// rate by leases where leased says so, and equally otherwise.
func (p *Pace) Part(lane string, share float64, leased bool) *Part {
	p.mu.Lock()
	defer p.mu.Unlock()
	part := &Part{pace: p, lane: lane, share: share, leased: leased, set: func(float64) {}, press: func() {}}
	p.parts = append(p.parts, part)
	return part
}

// Drive tells the lane's rate to set, at once and whenever it changes. The function
// must not call the Pace.
func (l *Part) Drive(set func(callsPerSecond float64)) {
	l.pace.mu.Lock()
	defer l.pace.mu.Unlock()
	l.set = set
	l.pace.apply()
}

// Press sets what a call invokes that finds crowd others waiting. Set it before the first
// call.
func (l *Part) Press(press func()) { l.press = press }

// Watch says which instance is called, and reads at once what is known of it.
func (p *Pace) Watch(instance string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance == instance {
		return
	}
	p.instance = instance
	p.row, p.pending, p.told = shared{learnt: unknown(p.d.Limits, p.d.Now())}, nil, report{}
	p.apply()
	p.rouse()
}

// Begin says that a call of the lane waits for its turn, with others.
func (l *Part) Begin(waiting int) {
	if waiting >= crowd {
		l.press()
	}
	p := l.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.Now()
	idle := now.Sub(l.last) >= laneRest
	l.last = now
	if idle {
		p.apply()
	}
	if idle || !p.running {
		p.rouse()
	}
}

// End counts a call of the lane.
func (l *Part) End(c ninjaone.Call) {
	p := l.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.d.Now()
	l.last = now
	switch {
	case c.Throttled:
		under := p.applied
		if now.Add(-c.Duration).Before(p.since) {
			under = max(under, p.former)
		}
		r := refusal{At: now, Under: under, Pause: c.Pause, Trial: c.Trial, Alone: p.alone(), Rate: p.recent.most(now)}
		p.see(func(s shared) shared {
			s.learnt = s.learnt.turnedAway(p.d.Limits, r)
			return s
		})
		p.d.Log.Info("NinjaOne turned a call away", "path", c.Path, "pause", c.Pause, "callsPerSecond", p.row.learnt.Pace)
	case c.Status == 0:
		return // the connection failed: nothing is known of it
	case c.Refused > 0:
		p.see(func(s shared) shared {
			s.learnt = s.learnt.reopened(p.d.Limits, now, s.sum(p.id, p.recent.minute(now), func(r report) float64 { return r.Minute }))
			return s
		})
	}
	if c.Throttled {
		return
	}
	p.passed++
	p.window++
	p.recent.add(now)
	p.slow = append(p.slow, p.slowness(c))
}

// see takes something into account that the others do not know of yet.
func (p *Pace) see(what func(shared) shared) {
	p.pending = append(p.pending, what)
	p.row = what(p.row)
	p.apply()
	p.rouse()
}

// slowness is how many times as long as usual a call has taken. What is usual for
// a call follows its fastest answers, and slowly all others.
func (p *Pace) slowness(c ninjaone.Call) float64 {
	key := c.Method + c.Path
	usual, known := p.usual[key]
	took := max(c.Duration, 20*time.Millisecond)
	switch {
	case !known:
		p.usual[key] = took
		return 1
	case took < usual:
		p.usual[key] = usual - (usual-took)/4
	default:
		p.usual[key] = usual + (min(took, 4*usual)-usual)/1000
	}
	return float64(took) / float64(usual)
}

// sum adds a figure of all processes, of this one as it is now.
func (s shared) sum(me string, mine float64, of func(report) float64) float64 {
	for id, r := range s.reports {
		if id != me {
			mine += of(r)
		}
	}
	return mine
}

// apply divides the pace among the lanes. The lock is held.
//
// A lane that any process uses has its part, and lanes in use share what the others
// leave. A lane that nobody uses is ready to begin with its part.
func (p *Pace) apply() {
	now := p.d.Now()
	if p.row.learnt.Pace != p.applied {
		p.former, p.applied, p.since = p.applied, p.row.learnt.Pace, now
		p.looked, p.window, p.slow = now, 0, nil
	}
	used := 0.0
	busy := map[string]bool{}
	for _, l := range p.parts {
		if now.Sub(l.last) < laneRest || p.elsewhere(l.lane) > 0 {
			busy[l.lane] = true
			used += l.share
		}
	}
	for _, l := range p.parts {
		of := used
		if !busy[l.lane] {
			of += l.share
		}
		if !l.leased {
			of *= float64(1 + p.elsewhere(l.lane))
		}
		l.set(p.applied * l.share / of)
	}
}

// elsewhere is how many other processes use a lane.
func (p *Pace) elsewhere(lane string) (n int) {
	for id, r := range p.row.reports {
		if id != p.id && slices.Contains(r.Lanes, lane) {
			n++
		}
	}
	return n
}

// Raise implements Board.
func (p *Pace) Raise(signal string, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, have := slices.BinarySearch(p.wants, signal)
	switch {
	case up == have:
		return
	case up:
		p.wants = slices.Insert(slices.Clone(p.wants), at, signal)
	default:
		p.wants = slices.Delete(slices.Clone(p.wants), at, at+1)
	}
	p.rouse()
}

// Raised implements Board.
func (p *Pace) Raised(signal string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listened = p.d.Now()
	if !p.running {
		p.rouse()
	}
	for id, r := range p.row.reports {
		if id != p.id && p.listened.Sub(r.At) < reportLife && slices.Contains(r.Wants, signal) {
			return true
		}
	}
	return false
}

// alone reports whether no other process makes calls.
func (p *Pace) alone() bool {
	for id := range p.row.reports {
		if id != p.id {
			return false
		}
	}
	return true
}

// rouse starts the loop, or makes it look again. The lock is held.
func (p *Pace) rouse() {
	if p.instance == "" {
		return
	}
	if !p.running {
		p.running, p.looked, p.window = true, p.d.Now(), 0
		go p.loop()
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// loop looks at the row while calls are made, and some seconds longer.
func (p *Pace) loop() {
	for {
		p.exchange()
		timer := time.NewTimer(step)
		select {
		case <-timer.C:
		case <-p.wake:
		}
		timer.Stop()
		p.mu.Lock()
		now := p.d.Now()
		lasts := reportLife
		if p.alone() { // nobody else is to hear that it is done
			lasts = quiet
		}
		p.running = slices.ContainsFunc(p.parts, func(l *Part) bool { return now.Sub(l.last) < lasts }) ||
			len(p.pending) > 0 || len(p.wants) > 0 || len(p.told.Wants) > 0 || now.Sub(p.listened) < lasts
		if !p.running {
			p.pending = nil
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// exchange reads the row, judges the pace, and tells what this process sees.
func (p *Pace) exchange() {
	ctx, cancel := context.WithTimeout(context.Background(), rowTimeout)
	defer cancel()
	for range rowTries {
		err := p.exchangeOnce(ctx)
		if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrExists) {
			continue
		}
		if err != nil {
			p.d.Log.Warn("the pace cannot be shared with other processes; the last one that is known goes on", "error", err)
		}
		return
	}
}

func (p *Pace) exchangeOnce(ctx context.Context) error {
	p.mu.Lock()
	instance := p.instance
	p.mu.Unlock()
	row, err := p.d.Rows.Find(ctx, partition, instance)
	if err != nil {
		return err
	}
	p.mu.Lock()
	now := p.d.Now()
	have := sharedOf(row, p.d.Limits, now)
	pending := len(p.pending)
	for _, what := range p.pending {
		have = what(have)
	}
	p.measure(now)
	next := shared{etag: have.etag, reports: maps.Clone(have.reports)}
	mine := report{At: now, Rate: p.rate, Minute: p.recent.minute(now), Wants: p.wants}
	for _, l := range p.parts {
		if now.Sub(l.last) < laneRest {
			mine.Lanes = append(mine.Lanes, l.lane)
		}
	}
	delete(next.reports, p.id)
	there := len(mine.Lanes)+len(mine.Wants) > 0
	if there {
		next.reports[p.id] = mine
	}
	passed := p.passed
	next.learnt = have.learnt.judge(p.d.Limits, observation{
		At: now, Passed: passed, Slowness: p.slowly,
		Rate: have.sum(p.id, p.rate, func(r report) float64 { return r.Rate }),
	})
	news := pending > 0 || next.learnt.Judged != have.learnt.Judged ||
		!slices.Equal(mine.Lanes, p.told.Lanes) || !slices.Equal(mine.Wants, p.told.Wants) || there && now.Sub(p.told.At) >= 2*step-step/2
	if !news {
		p.settle(have)
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()

	e, err := next.entity(instance)
	if err != nil {
		return err
	}
	if have.etag == "" {
		err = p.d.Rows.Insert(ctx, e)
	} else {
		err = p.d.Rows.ReplaceIfMatch(ctx, e, have.etag)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.instance != instance {
		return err
	}
	if err != nil {
		p.settle(have)
		return err
	}
	if was := have.learnt.Pace; next.learnt.Pace > was {
		p.d.Log.Info("the pace rises", "callsPerSecond", next.learnt.Pace, "was", was)
	}
	p.pending = p.pending[pending:]
	p.passed -= passed
	p.told = mine
	for _, what := range p.pending { // seen meanwhile
		next = what(next)
	}
	p.settle(next)
	return nil
}

// settle goes on with what is known now. The lock is held.
func (p *Pace) settle(s shared) {
	p.row = s
	p.apply()
	if s.learnt.Paused.After(p.d.Now()) {
		p.d.Hold(s.learnt.Paused)
	}
}

// measure finds the rate of calls, no more often than makes a figure of it. The
// lock is held.
func (p *Pace) measure(now time.Time) {
	if spent := now.Sub(p.looked); spent >= step-step/20 {
		p.rate, p.window, p.looked = float64(p.window)/spent.Seconds(), 0, now
		p.slowly, p.slow = median(p.slow), nil
	}
}

// median of what was seen lately; 0 when that is too little.
func median(of []float64) float64 {
	if len(of) < 8 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// seconds counts what happened in each of the last seconds.
type seconds struct {
	at [64]int64 // Unix time
	n  [64]int
}

func (s *seconds) add(now time.Time) {
	i := now.Unix() % int64(len(s.n))
	if s.at[i] != now.Unix() {
		s.at[i], s.n[i] = now.Unix(), 0
	}
	s.n[i]++
}

// most is the count of the busiest of the last five seconds.
func (s *seconds) most(now time.Time) float64 {
	most := 0
	for i, at := range s.at {
		if now.Unix()-at <= 5 {
			most = max(most, s.n[i])
		}
	}
	return float64(most)
}

// minute is the rate of the last minute.
func (s *seconds) minute(now time.Time) float64 {
	sum := 0
	for i, at := range s.at {
		if now.Unix()-at < 60 {
			sum += s.n[i]
		}
	}
	return float64(sum) / 60
}

// View is what people see of the pace.
type View struct {
	Limits
	// Now is the pace in calls per second. TurnedAway is when NinjaOne last asked for
	// fewer calls, or zero if it never did.
	Now        float64
	TurnedAway time.Time
}

// View reads what is known of an instance's pace.
func (p *Pace) View(ctx context.Context, instance string) (View, error) {
	row, err := p.d.Rows.Find(ctx, partition, instance)
	known := sharedOf(row, p.d.Limits, p.d.Now()).learnt
	return View{p.d.Limits, known.Pace, known.Lowered}, err
}
