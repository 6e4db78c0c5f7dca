package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"cipp-ninjaone/handler/internal/customhandler"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/notify/notifytest"
	"cipp-ninjaone/sandbox/fail"
)

const (
	tenantOne = "11111111-1111-4111-8111-111111111111"
	tenantTwo = "22222222-2222-4222-8222-222222222222"
	deviceOne = "d1111111-1111-4111-8111-111111111111"
	deviceTwo = "d2222222-2222-4222-8222-222222222222"
)

// gate is a receiver over real HTTP whose rows are in memory.
type gate struct {
	*httptest.Server
	receiver *Receiver
	queue    *notifytest.Queue[Message]
	clock    *notifytest.Clock
	log      *bytes.Buffer
	mu       sync.Mutex
	rows     map[string]Subscription
	lookups  atomic.Int64 // readings of all rows
	down     atomic.Bool
}

func newGate(t testing.TB, subscriptions ...Subscription) *gate {
	g := &gate{queue: newQueue(), clock: &notifytest.Clock{}, log: &bytes.Buffer{}, rows: map[string]Subscription{}}
	for _, s := range subscriptions {
		g.rows[s.ID] = s
	}
	g.receiver = New(Deps{Subscriptions: g.list, Queue: g.queue, Now: g.clock.Now, Log: slog.New(slog.NewTextHandler(g.log, nil))})
	g.Server = httptest.NewServer(g.receiver)
	t.Cleanup(g.Close)
	return g
}

func newQueue() *notifytest.Queue[Message] { return &notifytest.Queue[Message]{Parse: ParseMessage} }

// list reads all rows.
func (g *gate) list(context.Context) (map[string]Subscription, error) {
	g.lookups.Add(1)
	if g.down.Load() {
		return nil, errors.New("the table is out of reach")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.rows), nil
}

func (g *gate) post(t testing.TB, query, body string) (int, string, http.Header) {
	t.Helper()
	resp, err := http.Post(g.URL+Path+query, "application/json", strings.NewReader(body))
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(answer), resp.Header
}

func notification(s Subscription, device string) string {
	return fmt.Sprintf(`{"subscriptionId":%q,"clientState":%q,"changeType":"updated","resource":"Devices/%s","resourceData":{"id":%q}}`,
		s.SubscriptionID, s.ClientState, device, device)
}

func collection(items ...string) string { return `{"value":[` + strings.Join(items, ",") + `]}` }

func TestHandshake(t *testing.T) {
	g := newGate(t)
	tests := map[string]struct {
		token  string
		status int
	}{
		"plain":              {"abc", 200},
		"what Graph sends":   {"Validation: Testing client application reachability for subscription Request-Id: 0a", 200},
		"signs and accents":  {"a+b&c=d<script>alert(1)</script>é\u2028", 200},
		"as long as allowed": {strings.Repeat("x", maxToken), 200},
		"too long":           {strings.Repeat("x", maxToken+1), 400},
		"empty":              {"", 400},
		"not text":           {"\xff\xfe", 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, query := range []string{"?validationToken=", "?subscription=" + tenantOne + "&validationToken="} {
				status, body, header := g.post(t, query+url.QueryEscape(tt.token), "")
				if status != tt.status || status == 200 && body != tt.token {
					t.Errorf("answered %d %q", status, body)
				}
				if !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("answered as %q", header.Get("Content-Type"))
				}
			}
		})
	}
	if n := g.lookups.Load(); n != 0 {
		t.Errorf("handshakes read storage %d times", n)
	}
}

func TestReceiver(t *testing.T) {
	one, two := NewSubscription(tenantOne), NewSubscription(tenantTwo)
	one.SubscriptionID, two.SubscriptionID = "a1111111-1111-4111-8111-111111111111", "a2222222-2222-4222-8222-222222222222"
	query := "?subscription=" + one.ID
	deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	tests := map[string]struct {
		query, body string
		status      int
		queued      string // messages as JSON
	}{
		"one item":              {query, collection(notification(one, deviceOne)), 202, `{"tenantId":"` + tenantOne + `","deviceIds":["` + deviceOne + `"]}`},
		"id in upper case":      {"?subscription=" + strings.ToUpper(one.ID), collection(notification(one, strings.ToUpper(deviceOne))), 202, `{"tenantId":"` + tenantOne + `","deviceIds":["` + deviceOne + `"]}`},
		"device in the path":    {query, collection(`{"clientState":"` + one.ClientState + `","resource":"Devices('` + deviceOne + `')"}`), 202, `{"tenantId":"` + tenantOne + `","deviceIds":["` + deviceOne + `"]}`},
		"no device":             {query, collection(`{"clientState":"` + one.ClientState + `","resource":"Devices"}`), 202, ""},
		"a device that is none": {query, collection(notification(one, "../users/1")), 202, ""},
		"two devices":           {query, collection(notification(one, deviceTwo), notification(one, deviceOne)), 202, `{"tenantId":"` + tenantOne + `","deviceIds":["` + deviceOne + `","` + deviceTwo + `"]}`},
		"another's item":        {query, collection(notification(two, deviceTwo)), 202, `{"tenantId":"` + tenantTwo + `","deviceIds":["` + deviceTwo + `"]}`},
		"no subscription":       {"", collection(notification(one, deviceOne)), 202, ""},
		"unknown subscription":  {"?subscription=" + tenantOne, collection(notification(one, deviceOne)), 202, ""},
		"wrong state":           {query, collection(strings.Replace(notification(one, deviceOne), one.ClientState, one.ClientState[:79], 1)), 202, ""},
		"no state":              {query, collection(strings.Replace(notification(one, deviceOne), one.ClientState, "", 1)), 202, ""},
		"items of wrong types":  {query, collection(`7`, `null`, `[]`, `{"clientState":{}}`, notification(one, deviceOne)), 202, `{"tenantId":"` + tenantOne + `","deviceIds":["` + deviceOne + `"]}`},
		"not Unicode":           {query, collection(`{"clientState":"\ud800","resource":"Devices('')","resourceData":{"id":null}}`), 202, ""},
		"empty collection":      {query, `{"value":[]}`, 202, ""},
		"validation tokens too": {query, `{"value":[],"validationTokens":["x"]}`, 202, ""},
		"not JSON":              {query, `value`, 400, ""},
		"empty body":            {query, ``, 400, ""},
		"a list":                {query, `[]`, 400, ""},
		"no value":              {query, `{}`, 400, ""},
		"value is an object":    {query, `{"value":{}}`, 400, ""},
		"too deep":              {query, `{"value":[` + deep + `]}`, 400, ""},
		"deep in a string":      {query, `{"value":[{"clientState":"` + strings.Repeat("[", 100) + `"}]}`, 202, ""},
		"too large":             {query, `{"value":["` + strings.Repeat("x", wire.MaxPost) + `"]}`, 413, ""},
		"too many":              {query, collection(strings.Split(strings.Repeat("1,", wire.MaxNotifications)+"1", ",")...), 400, ""},
		"broken query":          {"?subscription=%zz", collection(), 400, ""},
		"removed":               {query, collection(`{"clientState":"` + one.ClientState + `","lifecycleEvent":"subscriptionRemoved","subscriptionId":"` + one.SubscriptionID + `"}`), 202, `{"tenantId":"` + tenantOne + `","event":"subscriptionRemoved","subscriptionId":"` + one.SubscriptionID + `"}`},
		"forged removal":        {query, collection(`{"clientState":"x","lifecycleEvent":"subscriptionRemoved"}`), 202, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, one, two)
			status, body, _ := g.post(t, tt.query, tt.body)
			if status != tt.status {
				t.Errorf("answered %d %q, want %d", status, body, tt.status)
			}
			if strings.Contains(body, one.ClientState) || strings.Contains(g.log.String(), one.ClientState) {
				t.Error("the client state leaked")
			}
			var queued []string
			for _, m := range g.queue.Take() {
				text, err := json.Marshal(m)
				must(t, err)
				queued = append(queued, string(text))
			}
			if got := strings.Join(queued, "\n"); got != tt.queued {
				t.Errorf("queued\n%s\nwant\n%s", got, tt.queued)
			}
		})
	}
}

func TestOnlyPost(t *testing.T) {
	g := newGate(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodHead} {
		req, err := http.NewRequest(method, g.URL+Path+"?validationToken=x", nil)
		must(t, err)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s answered %d", method, resp.StatusCode)
		}
	}
}

func TestForgeriesCostNeitherStorageNorLog(t *testing.T) {
	one := NewSubscription(tenantOne)
	g := newGate(t, one)
	forged := collection(strings.Replace(notification(one, deviceOne), one.ClientState, "forged", 1))
	for range 50 {
		g.post(t, "?subscription="+one.ID, forged)
		g.post(t, "?subscription="+tenantTwo, forged)
	}
	if n := g.lookups.Load(); n != 1 {
		t.Errorf("100 forged POSTs read storage %d times, want 1", n)
	}
	if n := strings.Count(g.log.String(), "\n"); n > 2 {
		t.Errorf("100 forged POSTs made %d log lines", n)
	}
	g.clock.Advance(tellEvery)
	g.post(t, "?subscription="+one.ID, forged)
	if last := g.log.String(); !strings.Contains(last, "items.forged=50") && !strings.Contains(last, "items.forged=51") && !strings.Contains(last, "items.forged=49") {
		t.Errorf("the forgeries were not counted:\n%s", last)
	}
	if len(g.queue.Take()) != 0 {
		t.Error("a forgery was queued")
	}
}

// TestMadeUpAddresses floods a cold receiver with made-up addresses, beside
// genuine first notifications. One reading answers the whole flood, and one a
// second sees what is new.
func TestMadeUpAddresses(t *testing.T) {
	var all []Subscription
	for i := range 20 {
		all = append(all, NewSubscription(fmt.Sprintf("%08d-3333-4333-8333-333333333333", i)))
	}
	g := newGate(t, all...)
	guesses := func(n int) {
		for range n {
			status, _, _ := g.post(t, "?subscription="+uuid.NewString(), "x") // its body is not looked at
			if status != http.StatusAccepted {
				t.Errorf("a guess was answered %d", status)
			}
		}
	}
	var clients sync.WaitGroup
	started := time.Now()
	for range 8 {
		clients.Go(func() { guesses(250) })
	}
	for i, s := range all {
		clients.Go(func() {
			guesses(10)
			if status, _, _ := g.post(t, "?subscription="+s.ID, collection(notification(s, fmt.Sprintf("d%07d-1111-4111-8111-111111111111", i)))); status != http.StatusAccepted {
				t.Errorf("a genuine first notification was answered %d", status)
			}
		})
	}
	clients.Wait()
	if n, seconds := int(g.lookups.Load()), int(time.Since(started)/readEvery); n > 2+seconds {
		t.Errorf("2200 guesses read storage %d times within %d seconds", n, 1+seconds)
	}
	if got := g.queue.Take(); len(got) != len(all) {
		t.Errorf("%d of %d genuine notifications were queued", len(got), len(all))
	}
	v := g.receiver.verifier
	v.mu.Lock()
	defer v.mu.Unlock()
	for range 20_000 {
		v.remember(uuid.NewString())
	}
	if n := len(v.unknown); n > 10_000 {
		t.Errorf("%d made-up ids are remembered", n)
	}
}

// bubbleGate is a gate in a bubble of time, asked without a network. No answer
// may take longer than until the next reading.
func bubbleGate(t *testing.T) (g *gate, post func(query, body string) int) {
	g = newGate(t)
	g.Server.Close()
	return g, func(query, body string) int {
		began := time.Now()
		rec := httptest.NewRecorder()
		g.receiver.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, Path+query, strings.NewReader(body)))
		if took := time.Since(began); took > 2*readEvery {
			t.Errorf("%s took %s", query, took)
		}
		return rec.Code
	}
}

// flood sends a guess after the other, each of which must be answered with
// status, and every so often only, until something is the case.
func flood(t *testing.T, post func(query, body string) int, every time.Duration, status int, until func() bool) {
	t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !until() {
		if got := post("?subscription="+uuid.NewString(), ""); got != status {
			t.Fatalf("a guess was answered %d", got)
		}
		<-tick.C
	}
}

// settle waits until no reading is under way.
func (g *gate) settle() {
	v := g.receiver.verifier
	v.mu.Lock()
	under := v.under
	v.mu.Unlock()
	if under != nil {
		<-under.done
	}
}

// add adds a row, as another process does.
func (g *gate) add(s Subscription) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows[s.ID] = s
}

// TestNewSubscriptionInAFlood: a subscription that is made while guesses keep
// the memory young is known as soon as Graph has shaken hands, and looked after
// when another process did that.
func TestNewSubscriptionInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, post := bubbleGate(t)
		began := time.Now()
		floodFor := func(readings int64) {
			until := g.lookups.Load() + readings
			flood(t, post, 10*time.Millisecond, http.StatusAccepted, func() bool { return g.lookups.Load() >= until })
		}
		floodFor(3)
		one := NewSubscription(tenantOne)
		g.add(one)
		if status := post("?subscription="+one.ID+"&validationToken=x", ""); status != http.StatusOK {
			t.Fatalf("the handshake was answered %d", status)
		}
		if status := post("?subscription="+one.ID, collection(notification(one, deviceOne))); status != http.StatusAccepted {
			t.Errorf("answered %d", status)
		}
		if got := g.queue.Take(); len(got) != 1 || len(got[0].DeviceIDs) != 1 {
			t.Errorf("queued %+v", got)
		}

		floodFor(2)
		two := NewSubscription(tenantTwo)
		g.add(two)
		if status := post("?subscription="+two.ID, collection(notification(two, deviceTwo))); status != http.StatusAccepted {
			t.Errorf("answered %d", status)
		}
		var got []Message
		readings := g.lookups.Load()
		flood(t, post, 10*time.Millisecond, http.StatusAccepted, func() bool {
			got = append(got, g.queue.Take()...)
			return len(got) > 0 || g.lookups.Load() > readings+2
		})
		if len(got) != 1 || got[0].TenantID != tenantTwo || len(got[0].DeviceIDs) != 0 {
			t.Errorf("queued %+v, want a look at the whole tenant", got)
		}
		if status := post("?subscription="+two.ID, collection(notification(two, deviceTwo))); status != http.StatusAccepted {
			t.Errorf("answered %d", status)
		}
		if got := g.queue.Take(); len(got) != 1 || len(got[0].DeviceIDs) != 1 {
			t.Errorf("queued %+v", got)
		}
		if n, seconds := int(g.lookups.Load()), int(time.Since(began)/readEvery); n > seconds+3 {
			t.Errorf("%d readings in %d seconds", n, seconds)
		}
		g.settle()
	})
}

// TestHandshakesOfMadeUpAddresses: anybody can shake hands, too. Guesses at an address
// that did take no places of the function from genuine notifications, whether of a known
// subscription or of one that is made meanwhile.
func TestHandshakesOfMadeUpAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t)
		g.Server.Close()
		web := customhandler.New(customhandler.Deps{MaxBody: 1 << 20, Log: slog.New(slog.DiscardHandler)})
		web.HTTP("ReceiveNotifications", Route, g.receiver)
		var under, most atomic.Int64
		send := func(query, body string) int {
			most.Store(max(most.Load(), under.Add(1)))
			defer under.Add(-1)
			rec := httptest.NewRecorder()
			web.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, Path+query, strings.NewReader(body)))
			return rec.Code
		}
		const shake = "&validationToken=x"
		one, two := NewSubscription(tenantOne), NewSubscription(tenantTwo)
		g.add(one)
		guess := "?subscription=" + uuid.NewString()
		const perTick, ticks = 50, 400 // 5,000 a second, for four
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var guesses sync.WaitGroup
		for n := range ticks {
			<-tick.C
			send(guess+shake, "")
			for range perTick {
				guesses.Go(func() { send(guess, "") })
			}
			if status := send("?subscription="+one.ID, collection(notification(one, deviceOne))); status != http.StatusAccepted {
				t.Errorf("a genuine notification was answered %d beside %d guesses", status, under.Load())
				break
			}
			if n == ticks/2 {
				g.add(two)
				send("?subscription="+two.ID+shake, "")
				guesses.Go(func() {
					if status := send("?subscription="+two.ID, collection(notification(two, deviceTwo))); status != http.StatusAccepted {
						t.Errorf("a genuine first notification was answered %d", status)
					}
				})
			}
		}
		guesses.Wait()
		g.settle()
		synctest.Wait() // for the look at a tenant that was missed
		if n := most.Load(); n > 2*maxWaiting {
			t.Errorf("%d requests were under way at once", n)
		}
		if !slices.ContainsFunc(g.queue.Take(), func(m Message) bool { return m.TenantID == tenantTwo }) {
			t.Error("the first notification of a new subscription was lost")
		}
	})
}

// TestFloodWhileStorageIsOutOfReach: nobody waits, storage is asked once a
// second, and Graph is told to come back.
func TestFloodWhileStorageIsOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, post := bubbleGate(t)
		one := NewSubscription(tenantOne)
		g.add(one)
		g.down.Store(true)
		began, answers := time.Now(), 0
		flood(t, post, time.Millisecond, http.StatusServiceUnavailable, func() bool { answers++; return g.lookups.Load() >= 4 })
		took := time.Since(began)
		if took < 3*readEvery {
			t.Errorf("4 readings in %s", took)
		}
		if answers < int(took/time.Millisecond)*9/10 { // one each millisecond of the bubble
			t.Errorf("only %d guesses were answered in %s: they waited", answers, took)
		}
		g.down.Store(false)
		flood(t, post, time.Millisecond, http.StatusServiceUnavailable, func() bool { return time.Since(g.receiver.verifier.tried) >= readEvery })
		if status := post("?subscription="+one.ID, collection(notification(one, deviceOne))); status != http.StatusAccepted || len(g.queue.Take()) != 1 {
			t.Errorf("answered %d when the table is back", status)
		}
		g.settle()
	})
}

func TestStorageOutOfReach(t *testing.T) {
	one := NewSubscription(tenantOne)
	g := newGate(t, one)
	g.down.Store(true)
	body := collection(notification(one, deviceOne))
	if status, _, _ := g.post(t, "?subscription="+one.ID, body); status != 503 {
		t.Errorf("answered %d while the table is down", status)
	}
	g.down.Store(false)
	g.clock.Advance(readEvery)
	g.queue.Fail(errors.New("the queue is out of reach"))
	if status, _, _ := g.post(t, "?subscription="+one.ID, body); status != 503 {
		t.Errorf("answered %d while the queue is down", status)
	}
	g.queue.Fail(nil)
	if status, _, _ := g.post(t, "?subscription="+one.ID, body); status != 202 || len(g.queue.Take()) != 1 {
		t.Errorf("answered %d when both are back, or the device is not queued", status)
	}
}

// stream is a body without end, which counts what is read of it.
type stream struct {
	start, again string
	read         int
}

func (s *stream) Read(p []byte) (int, error) {
	if s.start == "" {
		s.start = s.again
	}
	n := copy(p, s.start)
	s.start = s.start[n:]
	s.read += n
	return n, nil
}

func (s *stream) Close() error { return nil }

func TestBodiesAreReadNoFurtherThanNeeded(t *testing.T) {
	one := NewSubscription(tenantOne)
	many := collection(strings.Split(strings.Repeat("1,", wire.MaxNotifications)+"1", ",")...)
	tests := map[string]struct {
		query  string
		body   *stream
		status int
		most   int // bytes
	}{
		"unknown subscription":  {"subscription=" + tenantOne, &stream{again: " "}, 202, 0},
		"no subscription":       {"", &stream{again: " "}, 202, 0},
		"an id that is none":    {"subscription=x", &stream{again: " "}, 202, 0},
		"too many items":        {"subscription=" + one.ID, &stream{start: `{"value":[`, again: "1,"}, 400, 2 * len(many)},
		"not a collection":      {"subscription=" + one.ID, &stream{again: "[1,"}, 400, 4096},
		"one item without end":  {"subscription=" + one.ID, &stream{start: `{"value":[{"clientState":"`, again: "x"}, 413, wire.MaxPost + 4096},
		"members without end":   {"subscription=" + one.ID, &stream{start: `{"value":[]`, again: `,"x":1`}, 400, wire.MaxPost},
		"nothing but openings":  {"subscription=" + one.ID, &stream{start: `{"value":[`, again: `[`}, 400, wire.MaxPost},
		"blanks without end":    {"subscription=" + one.ID, &stream{start: `{"value":[]}`, again: " "}, 413, wire.MaxPost + 4096},
		"a second collection":   {"subscription=" + one.ID, &stream{start: `{"value":[],"value":[`, again: "1,"}, 400, 4096},
		"goes on after its end": {"subscription=" + one.ID, &stream{start: `{"value":[]}`, again: `{}`}, 400, 4096},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, one)
			req := httptest.NewRequest(http.MethodPost, Path+"?"+tt.query, tt.body)
			rec := httptest.NewRecorder()
			g.receiver.ServeHTTP(rec, req)
			if rec.Code != tt.status || tt.body.read > tt.most {
				t.Errorf("answered %d after %d bytes, want %d and at most %d", rec.Code, tt.body.read, tt.status, tt.most)
			}
		})
	}
}

func TestAStrayIsReportedUntilItIsInTheQueue(t *testing.T) {
	one := NewSubscription(tenantOne)
	one.SubscriptionID = "a1111111-1111-4111-8111-111111111111"
	g := newGate(t, one)
	body := collection(strings.Replace(notification(one, deviceOne), one.SubscriptionID, "a9999999-9999-4999-8999-999999999999", 1))
	g.queue.Fail(errors.New("the queue is out of reach"))
	if status, _, _ := g.post(t, "?subscription="+one.ID, body); status != 503 {
		t.Errorf("answered %d while the queue is down", status)
	}
	g.queue.Fail(nil)
	strays := 0
	for range 3 {
		g.post(t, "?subscription="+one.ID, body)
	}
	for _, m := range g.queue.Take() {
		if m.Event == EventStray {
			strays++
		}
	}
	if strays != 1 {
		t.Errorf("the stray was reported %d times, want once", strays)
	}
}

// slowQueue lets a test hold sends back.
type slowQueue struct {
	*notifytest.Queue[Message]
	started chan struct{}
	release chan struct{}
}

func (q *slowQueue) Send(ctx context.Context, v any, delay time.Duration) error {
	q.started <- struct{}{}
	select {
	case <-q.release:
		return q.Queue.Send(ctx, v, delay)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestNoAnswerBeforeTheQueueHasIt(t *testing.T) {
	q := &slowQueue{Queue: newQueue(), started: make(chan struct{}, 10), release: make(chan struct{})}
	o := newOutbox(q, time.Now)
	w := newWork()
	w.addDevice(tenantOne, deviceOne)
	first := make(chan error, 1)
	go func() { first <- o.put(t.Context(), w) }()
	<-q.started

	// What comes while a message is on its way goes into one further message.
	var more sync.WaitGroup
	errs := make(chan error, 20)
	for i := range 20 {
		w := newWork()
		w.addDevice(tenantOne, fmt.Sprintf("d%07d-1111-4111-8111-111111111111", i))
		joined := o.join(tenantOne, w.devices[tenantOne])
		more.Go(func() {
			<-joined.done
			errs <- joined.err
		})
	}
	select {
	case <-first:
		t.Fatal("acknowledged before it was queued")
	default:
	}
	close(q.release)
	more.Wait()
	must(t, <-first)
	for range 20 {
		must(t, <-errs)
	}
	messages := q.Take()
	if len(messages) != 2 || len(messages[0].DeviceIDs) != 1 || len(messages[1].DeviceIDs) != 20 {
		t.Errorf("made the messages %+v", messages)
	}
}

func TestManyDevicesFitTheirMessages(t *testing.T) {
	one := NewSubscription(tenantOne)
	g := newGate(t, one)
	var items []string
	for i := range wire.MaxNotifications {
		items = append(items, notification(one, fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)))
	}
	if status, body, _ := g.post(t, "?subscription="+one.ID, collection(items...)); status != 202 {
		t.Fatalf("answered %d %s", status, body)
	}
	n := 0
	for _, m := range g.queue.Take() {
		n += len(m.DeviceIDs)
		if text, err := json.Marshal(m); err != nil || len(text) > 48<<10 {
			t.Errorf("a message has %d bytes (%v)", len(text), err)
		}
	}
	if n != wire.MaxNotifications {
		t.Errorf("queued %d devices of %d", n, wire.MaxNotifications)
	}
}

func TestParseMessage(t *testing.T) {
	tests := map[string]struct {
		text string
		want string
		bad  bool
	}{
		"sweep":          {text: `{"tenantId":"` + tenantOne + `"}`, want: tenantOne},
		"empty list":     {text: `{"tenantId":"` + tenantOne + `","deviceIds":[]}`, want: tenantOne},
		"devices":        {text: `{"tenantId":"` + strings.ToUpper(tenantOne) + `","deviceIds":["` + deviceTwo + `","` + strings.ToUpper(deviceTwo) + `","` + deviceOne + `"]}`, want: tenantOne + " " + deviceOne + " " + deviceTwo},
		"some are none":  {text: `{"tenantId":"` + tenantOne + `","deviceIds":["x","` + deviceOne + `"]}`, want: tenantOne + " " + deviceOne},
		"all are none":   {text: `{"tenantId":"` + tenantOne + `","deviceIds":["x"]}`, bad: true},
		"no tenant":      {text: `{"deviceIds":["` + deviceOne + `"]}`, bad: true},
		"tenant by name": {text: `{"tenantId":"contoso.example"}`, bad: true},
		"not JSON":       {text: `x`, bad: true},
		"wrong types":    {text: `{"tenantId":"` + tenantOne + `","deviceIds":"x"}`, bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMessage([]byte(tt.text))
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if got := strings.Join(append([]string{m.TenantID}, m.DeviceIDs...), " "); err == nil && got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

var must = fail.If
