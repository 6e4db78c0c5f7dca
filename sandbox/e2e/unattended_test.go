package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/funchost"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/stack"
	"cipp-ninjaone/sandbox/storageproxy"
)

// syncsOff and syncsOn are the platform's switch of one function: while it is
// off, what the schedule puts on the queue stays there.
var (
	syncsOff = setting("AzureWebJobs.SyncTenant.Disabled", "true")
	syncsOn  = setting("AzureWebJobs.SyncTenant.Disabled", "false")
)

// ageRuns lets every tenant's last run and message have been so much earlier, as
// if so much time had passed since.
func (w *world) ageRuns(by time.Duration) {
	w.t.Helper()
	earlier := func(row map[string]any, names ...string) map[string]any {
		columns := map[string]any{}
		for _, name := range names {
			text, ok := row[name].(string)
			if !ok {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, text)
			must(w.t, err)
			columns[name] = at.Add(-by).Format("2006-01-02T15:04:05.0000000Z")
			if kind := row[name+"@odata.type"]; kind != nil {
				columns[name+"@odata.type"] = kind
			} else {
				columns[name] = at.Add(-by).Format("2006-01-02T15:04:05.000Z") // a text of CIPP's
			}
		}
		return columns
	}
	for _, row := range w.rows("NinjaOneSyncState", "PartitionKey eq 'run'") {
		w.merge("NinjaOneSyncState", "run", row["RowKey"].(string), earlier(row, "Queued", "Start", "End", "LastSuccess"))
	}
	for _, row := range w.rows("CippMapping", "PartitionKey eq 'NinjaOneMapping'") {
		w.merge("CippMapping", "NinjaOneMapping", row["RowKey"].(string), earlier(row, "lastStartTime", "lastEndTime"))
	}
}

// call sends a request with the token, as a page of the console does with a form.
func (w *world) call(method, path, form string) (status int, body string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.Host.URL()+path, strings.NewReader(form))
	must(w.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Dev-Token", w.DevToken())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := http.DefaultClient.Do(r)
	must(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(w.t, err)
	return resp.StatusCode, string(text)
}

// pause pauses or resumes a tenant, or "everyone", on the console.
func (w *world) pause(tenant string, paused bool) {
	w.t.Helper()
	if status, body := w.call(http.MethodPost, "/api/ninjaone/console/pause", url.Values{"tenant": {tenant}, "paused": {fmt.Sprint(paused)}}.Encode()); status != http.StatusOK {
		w.t.Fatalf("the console answered %d: %.300s", status, body)
	}
}

// completedSince counts the syncs that completed since so many log lines, by tenant. One
// that lost its lease to a slow machine goes on in another, and counts once.
func (w *world) completedSince(since int) map[string]int {
	n := map[string]int{}
	for _, line := range w.logged()[since:] {
		if l, ok := parseLog(line); ok && l.Msg == "sync ended" && l.Status == "Completed" {
			n[l.Tenant]++
		}
	}
	return n
}

// of is what the handler logged of one tenant since so many log lines.
func (w *world) of(since int, t *m365sim.Tenant) []string {
	return slices.DeleteFunc(slices.Clone(w.logged()[since:]), func(line string) bool { return !strings.Contains(line, t.ID) })
}

// settled waits until the queue of syncs is empty, hidden messages included.
func (w *world) settled() {
	w.t.Helper()
	w.poll("the queue of syncs to be empty", func() bool { return w.waiting(syncQueue) == 0 })
}

// once fails the test unless every one of the tenants was synced exactly once
// since so many log lines, and nobody else was.
func (w *world) once(since int, tenants ...*m365sim.Tenant) {
	w.t.Helper()
	n := w.completedSince(since)
	for _, t := range tenants {
		if n[t.ID] != 1 {
			w.t.Errorf("%s was synced %d times, want once; the logbook says\n%s\nand the handler\n%s",
				t.DefaultDomain, n[t.ID], strings.Join(w.logbook(t.DefaultDomain), "\n"), strings.Join(w.of(since, t), "\n"))
		}
		if status := w.status(t.ID); status != "Completed" {
			w.t.Errorf("%s is %q:\n%s", t.DefaultDomain, status, strings.Join(w.logbook(t.DefaultDomain), "\n"))
		}
		delete(n, t.ID)
	}
	for id := range n {
		w.t.Errorf("tenant %s was synced too", id)
	}
}

// TestTickIsInterrupted loses the machine in the middle of a tick, and lets two
// machines' timers fire at once. However often a tenant then waits on the queue,
// it is synced once, and none is left out.
func TestTickIsInterrupted(t *testing.T) {
	t.Parallel()
	// schedule runs one tick until the fault has been met by all that it does at
	// once, and loses the machine.
	crash := func(fault storageproxy.Fault) func(w *world) {
		return func(w *world) {
			var mu sync.Mutex
			hits := 0
			fault.OnHit = func() {
				mu.Lock()
				defer mu.Unlock()
				hits++
			}
			w.Proxy.Inject(fault)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = w.Host.Invoke(context.Background(), "ScheduleTenants", "")
			}()
			w.poll("the tick to be in the middle", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return hits >= 4
			})
			w.Host.Crash()
			<-ended
			w.Proxy.ClearFaults()
			w.boot()
		}
	}
	for name, tt := range map[string]struct {
		first func(w *world)
		twice bool // some tenants wait on the queue twice then
	}{
		"before a message is sent":                   {crash(storageproxy.Fault{Service: storageproxy.Queue, Method: http.MethodPost, Path: named(`/ninjaone-sync/messages$`), Skip: 3, Hang: true}), false},
		"before it is noted that a message was sent": {crash(storageproxy.Fault{Service: storageproxy.Table, Path: named(`/NinjaOneSyncState\(PartitionKey='run'`), Skip: 3, Hang: true}), true},
		"the answer to a message is lost, so that it is sent again": {func(w *world) {
			w.Proxy.Inject(storageproxy.Fault{Service: storageproxy.Queue, Method: http.MethodPost, Path: named(`/ninjaone-sync/messages$`), Skip: 2, Count: 3, AfterHandling: true, Reset: true})
			w.tick()
			w.Proxy.ClearFaults()
		}, true},
		"two timers fire at once": {func(w *world) {
			one := w.Host
			w.options = append(w.options, func(c *funchost.Config) { c.HostID = "another" })
			w.boot()
			w.t.Cleanup(one.Stop)
			var group sync.WaitGroup
			for _, host := range []interface {
				Invoke(context.Context, string, string) error
			}{one, w.Host} {
				// One of them may complain that the other holds CIPP's engine off at the
				// same moment; it schedules all the same.
				group.Go(func() { _ = host.Invoke(context.Background(), "ScheduleTenants", "") })
			}
			group.Wait()
			one.Stop()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := generated(10)
			w := startOn(t, stack.Options{Seed: data, Proxy: true}, syncsOff, oneAtATime)
			// Else the first messages meet no queue, and how many do is the machine's
			// speed.
			if _, err := w.Queues.NewQueueClient(syncQueue).Create(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			tt.first(w)
			w.tick()
			w.tick()
			n := int(w.waiting(syncQueue))
			if n < len(data.Tenants) || tt.twice && n == len(data.Tenants) {
				t.Errorf("%d messages of %d tenants wait, want more: %t", n, len(data.Tenants), tt.twice)
			}
			// The storage counts whole seconds: what is synced within that of its
			// second message counts as synced before it.
			second := time.Now().Truncate(time.Second).Add(time.Second)
			w.poll("the second of the last message to be over", func() bool { return time.Now().After(second) })
			since := len(w.logged())
			w.options = append(w.options, syncsOn)
			w.restart()
			w.settled()
			if n := w.tick(); n != 0 {
				t.Errorf("the next tick queued %d tenants", n)
			}
			w.once(since, data.Tenants...)
		})
	}
}

// TestPilotAndPause lets one tenant be synced before the rest, and leaves one out.
func TestPilotAndPause(t *testing.T) {
	t.Parallel()
	data := generated(5)
	w := start(t, data)
	pilot, paused := data.Tenants[1], data.Tenants[3]
	w.pause("everyone", true)
	w.pause(pilot.ID, false)
	if n := w.tick(); n != 1 {
		t.Errorf("the first tick queued %d tenants, want the pilot alone", n)
	}
	w.settled()
	w.once(0, pilot)

	since := len(w.logged())
	w.pause("everyone", false)
	w.pause(paused.ID, true)
	if n := w.tick(); n != 3 {
		t.Errorf("%d tenants were queued, want all but the pilot and the one that is paused", n)
	}
	w.settled()
	w.once(since, data.Tenants[0], data.Tenants[2], data.Tenants[4])
	if status := w.status(paused.ID); status != "" {
		t.Errorf("the paused tenant is %q", status)
	}

	since = len(w.logged())
	w.pause(paused.ID, false)
	if n := w.tick(); n != 1 {
		t.Errorf("%d tenants were queued, want the one that was resumed", n)
	}
	w.settled()
	w.once(since, paused)

	// While all are paused nobody's turn comes. One that somebody asks for runs all the
	// same, and a pause costs no tenant its turn.
	for _, tenant := range []string{"everyone", pilot.ID, paused.ID} {
		w.pause(tenant, true)
	}
	w.ageRuns(25 * time.Hour)
	if n := w.tick(); n != 0 {
		t.Errorf("%d tenants were queued while all are paused", n)
	}
	w.force(data.Tenants[0].DefaultDomain).completed()
	for _, tenant := range []string{"everyone", pilot.ID, paused.ID} {
		w.pause(tenant, false)
	}
	since = len(w.logged())
	w.tick()
	w.settled()
	w.once(since, data.Tenants[1:]...)
}
