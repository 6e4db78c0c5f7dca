package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// process is one host with its handler, among several.
type process struct {
	host *funchost.Host
	mu   sync.Mutex
	log  []logLine
	end  time.Time // when its machine was lost; zero while it lives
}

// lines returns the lines of the handler's log with one of the messages.
func (p *process) lines(messages ...string) (found []logLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.log {
		if slices.Contains(messages, l.Msg) {
			found = append(found, l)
		}
	}
	return found
}

// processes lets every start of a world's host be one more process.
type processes struct {
	w   *world
	all []*process
}

func (ps *processes) watch(c *funchost.Config) {
	p := &process{}
	ps.all = append(ps.all, p)
	log := c.OnLog
	c.OnLog = func(line string) {
		if l, ok := parseLog(line); ok {
			p.mu.Lock()
			p.log = append(p.log, l)
			p.mu.Unlock()
		}
		log(line)
	}
}

// add starts one more.
func (ps *processes) add() {
	ps.w.t.Helper()
	ps.w.boot()
	p := ps.all[len(ps.all)-1]
	p.host = ps.w.Host
	ps.w.t.Cleanup(p.host.Stop)
}

// under is a run as the log of its process tells it.
type under struct {
	process    *process
	from, till time.Time
}

// runs returns the runs on each organization, by their start.
func (ps *processes) runs() map[int][]under {
	runs := map[int][]under{}
	for _, p := range ps.all {
		open := map[int]int{} // organization to the index of its run
		for _, l := range p.lines("sync started", "sync ended", "sync goes on later") {
			if l.Msg == "sync started" {
				open[l.Organization] = len(runs[l.Organization])
				runs[l.Organization] = append(runs[l.Organization], under{p, l.Time, p.end})
				continue
			}
			runs[l.Organization][open[l.Organization]].till = l.Time
		}
	}
	for _, list := range runs {
		slices.SortFunc(list, func(a, b under) int { return a.from.Compare(b.from) })
	}
	return runs
}

// TestSeveralProcesses syncs many tenants with three processes at once, two of
// the tenants with one organization, and loses the machine of one process in the
// middle. NinjaOne throttles at NINJAONE_RATE, and never has to.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	const rate = 20
	data := seed.Generate(seed.Size{Tenants: 40, Users: 4, Devices: 4, Groups: 1})
	share(data, 0, 1)
	ps := &processes{}
	w := start(t, data, ps.watch, setting("NINJAONE_RATE", fmt.Sprint(rate)), setting("SYNC_SLOTS", "6"))
	ps.w, ps.all[0].host = w, w.Host
	t.Cleanup(w.Host.Stop)
	// What the limiters of three processes may have saved up, and what a busy
	// machine may deliver late, is the burst; in the long run the rate holds.
	w.NinjaOne.SetRateLimit(ninjasim.RateLimit{PerSecond: rate, Burst: 2 * rate, RetryAfter: time.Second})
	ps.add()
	ps.add()

	for i, tn := range data.Tenants {
		text := fmt.Sprintf(`{"tenantId":%q,"force":false}`, tn.ID)
		w.put(syncQueue, text)
		if i%5 == 0 {
			w.put(syncQueue, text) // queued twice, which the queue may do as well
		}
	}
	// When a process gets its first slot depends on what the others do, and on
	// the machine: there is work until it has one. Who has been synced already is
	// only read again.
	busy := func(what string, found func() bool) {
		w.poll(what, func() bool {
			if found() {
				return true
			}
			if w.waiting(syncQueue) == 0 {
				for _, tn := range data.Tenants {
					w.put(syncQueue, fmt.Sprintf(`{"tenantId":%q,"force":false}`, tn.ID))
				}
			}
			return false
		})
	}
	lost, third := ps.all[1], ps.all[2]
	busy("the second process to be in the middle of a run", func() bool {
		return len(lost.lines("sync started")) > len(lost.lines("sync ended", "sync goes on later"))
	})
	lost.host.Crash()
	lost.end = time.Now()
	busy("the third process to be at work", func() bool { return len(third.lines("sync started")) > 0 })
	// A message is on the queue until it was handled, those of the lost machine too.
	w.poll("every message to be handled", func() bool { return w.waiting(syncQueue) == 0 })
	for _, p := range ps.all {
		p.host.Stop()
	}

	for _, tn := range data.Tenants {
		if status := w.status(tn.ID); status != "Completed" {
			t.Errorf("%s is %q:\n%s", tn.DefaultDomain, status, strings.Join(w.logbook(tn.DefaultDomain), "\n"))
		}
		w.correct(tn.DefaultDomain)
	}
	if n := w.NinjaOne.Throttled(); n != 0 {
		t.Errorf("NinjaOne had to turn away %d calls", n)
	}
	runs := ps.runs()
	owner := map[int]int{} // device to organization
	for _, d := range data.NinjaDevices {
		owner[d.ID] = d.OrganizationID
	}
	for organization, list := range runs {
		for i := 1; i < len(list); i++ {
			if before := list[i-1]; before.till.IsZero() || list[i].from.Before(before.till) {
				t.Errorf("organization %d: a run that began at %s was under way when another began at %s", organization, before.from, list[i].from)
			}
		}
	}
	// What NinjaOne saw of it: between two beginnings all writes come from one
	// process, which has a token of its own.
	tokens := map[[2]int]int{} // organization and run to token
	for _, write := range w.NinjaOne.Writes() {
		organization := cmp.Or(owner[write.ID], write.ID)
		if write.Kind == ninjasim.OrganizationKind {
			organization = write.ID
		}
		run, _ := slices.BinarySearchFunc(runs[organization], write.Time, func(u under, at time.Time) int { return u.from.Compare(at) })
		key := [2]int{organization, run}
		if token, seen := tokens[key]; seen && token != write.Token {
			t.Errorf("organization %d was written by two processes during one run", organization)
		}
		tokens[key] = write.Token
		interrupted := slices.ContainsFunc(runs[organization], func(u under) bool { return u.till.Equal(lost.end) })
		if len(write.Repeated) > 0 && !interrupted {
			t.Errorf("NinjaOne was sent what it had accepted: %s %d %q", write.Kind, write.ID, write.Repeated)
		}
	}
	for i, p := range ps.all {
		t.Logf("process %d began %d runs", i+1, len(p.lines("sync started")))
	}
}
