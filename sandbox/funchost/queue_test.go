package funchost

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

// received is one envelope as the handler got it.
type received struct {
	path   string
	header http.Header
	body   string
	data   map[string]json.RawMessage
	meta   map[string]json.RawMessage
}

func receive(t *testing.T, r *http.Request) received {
	t.Helper()
	out := received{path: r.URL.Path, header: r.Header, body: readAll(t, r.Body)}
	var envelope struct{ Data, Metadata map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(out.body), &envelope); err != nil {
		t.Errorf("the envelope is not JSON: %v", err)
	}
	out.data, out.meta = envelope.Data, envelope.Metadata
	return out
}

func TestQueueMessageSucceeds(t *testing.T) {
	q := newTestQueue(t)
	got := make(chan received, 1)
	a := newApp(t, "", map[string]string{"Work": q.function()}, func(w http.ResponseWriter, r *http.Request) {
		got <- receive(t, r)
		reply(w, `{"Outputs": {"other": 1}, "Logs": ["half way", "done"], "ReturnValue": null}`)
	})
	h := a.start(a.config())
	q.send(`{"tenant": "Adatum <East>", "id": "hides the real one", "count": 3, "flag": true, "nested": {"a": 1}, "list": [1], "none": null, "myTrigger": "dropped",
		"dequeuecount": 9, "large": 1e30, "half": 0.50, "time": "2026-11-29T21:40:13.5Z", "day": "2026-11-29"}`)
	i := a.invocation()
	if i.Err != nil || i.Function != "Work" || i.DequeueCount != 1 {
		t.Errorf("invocation = %+v", i)
	}
	if n := q.count(); n != 0 {
		t.Errorf("%d messages are left in the queue, want none", n)
	}
	e := <-got
	if e.path != "/Work" {
		t.Errorf("path = %s, want /Work", e.path)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "X-Azure-Functions-HostVersion": hostVersion,
		"X-Azure-Functions-InvocationId": i.ID, "User-Agent": "Azure-Functions-Host/" + hostVersion,
	} {
		if got := e.header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	var whole seen
	if err := json.Unmarshal([]byte(e.header.Get(seenHeader)), &whole); err != nil || len(whole.Header) != 4 || !whole.Chunked || whole.Host != fmt.Sprintf("127.0.0.1:%d", h.worker.port) {
		t.Errorf("the envelope came as %+v, want four headers and chunks", whole)
	}
	inner := quoteJSON(i.Message) // The text as JSON, and that in a JSON string.
	if want := quoteJSON(inner); string(e.data["message"]) != want {
		t.Errorf("Data.message = %s, want %s", e.data["message"], want)
	}
	for name, want := range map[string]string{
		"DequeueCount": `"\"9\""`, "large": `"\"1E+30\""`, "half": `"\"0.5\""`, "time": `"\"11/29/2026 21:40:13\""`, "day": `"\"2026-11-29\""`, "Id": `"\"hides the real one\""`, "tenant": `"\"Adatum <East>\""`,
		"count": `"\"3\""`, "flag": `"\"True\""`, "nested": `{"a":1}`,
	} {
		if string(e.meta[name]) != want {
			t.Errorf("Metadata.%s = %s, want %s", name, e.meta[name], want)
		}
	}
	for _, name := range []string{"list", "none", "myTrigger", "QueueTrigger", "id"} {
		if v, ok := e.meta[name]; ok {
			t.Errorf("Metadata.%s = %s, want it left out", name, v)
		}
	}
	for _, name := range []string{"ExpirationTime", "InsertionTime", "NextVisibleTime"} {
		var date string
		if err := json.Unmarshal(e.meta[name], &date); err != nil {
			t.Errorf("Metadata.%s: %v", name, err)
		} else if at, err := time.Parse(time.RFC3339, date); err != nil || at.Nanosecond() != 0 {
			t.Errorf("Metadata.%s = %s, want a date in whole seconds", name, date)
		}
	}
	var sys struct{ MethodName, UtcNow, RandGuid string }
	if err := json.Unmarshal(e.meta["sys"], &sys); err != nil || sys.MethodName != "Work" || sys.RandGuid == "" || sys.UtcNow == "" {
		t.Errorf("Metadata.sys = %s", e.meta["sys"])
	}
	for _, want := range []string{"half way", "done"} {
		if l := <-a.lines; l != want {
			t.Errorf("log line = %q, want %q", l, want)
		}
	}
}

func TestQueueMessageFails(t *testing.T) {
	q := newTestQueue(t)
	a := newApp(t, `"extensions": {"queues": {"maxDequeueCount": 3}}`, map[string]string{"Work": q.function()},
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	a.start(a.config())
	q.send("never works")
	for want := range int64(3) {
		if i := a.invocation(); i.Err == nil || i.DequeueCount != want+1 || i.Message != "never works" {
			t.Errorf("invocation = %+v, want failure %d", i, want+1)
		}
	}
	poison := openQueue(t, q.name+"-poison")
	if got, want := poison.texts(), base64.StdEncoding.EncodeToString([]byte("never works")); !slices.Equal(got, []string{want}) {
		t.Errorf("poison queue = %q, want %q", got, want)
	}
	if n := q.count(); n != 0 {
		t.Errorf("%d messages are left in the queue, want none", n)
	}
}

func TestUndecodableMessageIsPoisonAtOnce(t *testing.T) {
	q := newTestQueue(t)
	a := newApp(t, "", map[string]string{"Work": q.function()}, succeed)
	a.start(a.config())
	q.sendRaw(`{"plain": "text"}`)
	poison := openQueue(t, q.name+"-poison")
	if _, err := poison.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := poison.await(); got != `{"plain": "text"}` {
		t.Errorf("poison message = %q", got)
	}
	// Only the good message after it is invoked.
	q.send("good")
	if i := a.invocation(); i.Message != "good" {
		t.Errorf("invocation = %+v", i)
	}
}

// TestMessageThatIsNoText: the host itself fails, without a call, as often as it
// receives the message.
func TestMessageThatIsNoText(t *testing.T) {
	q := newTestQueue(t)
	a := newApp(t, `"extensions": {"queues": {"maxDequeueCount": 2}}`, map[string]string{"Work": q.function()}, func(w http.ResponseWriter, r *http.Request) {
		t.Error("the handler was called")
		succeed(w, r)
	})
	a.start(a.config())
	raw := base64.StdEncoding.EncodeToString([]byte("\xff\xfe"))
	q.sendRaw(raw)
	for range 2 {
		if i := a.invocation(); !errors.Is(i.Err, errNotText) {
			t.Errorf("invocation = %+v", i)
		}
	}
	if got := openQueue(t, q.name+"-poison").await(); got != raw {
		t.Errorf("poison message = %q, want it as it was sent", got)
	}
}

func TestMessageReceivedTooOftenIsNotInvoked(t *testing.T) {
	q := newTestQueue(t)
	a := newApp(t, `"extensions": {"queues": {"maxDequeueCount": 1}}`, map[string]string{"Work": q.function()}, succeed)
	q.send("used up")
	now := int32(1)
	if _, err := q.client.DequeueMessage(t.Context(), &azqueue.DequeueMessageOptions{VisibilityTimeout: &now}); err != nil {
		t.Fatal(err)
	}
	poison := openQueue(t, q.name+"-poison")
	if _, err := poison.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	a.start(a.config())
	if got := poison.await(); got != base64.StdEncoding.EncodeToString([]byte("used up")) {
		t.Errorf("poison message = %q", got)
	}
	q.send("fresh")
	if i := a.invocation(); i.Message != "fresh" {
		t.Errorf("invocation = %+v", i)
	}
}

func TestMissingQueueIsAwaitedQuietly(t *testing.T) {
	q := openQueue(t, azuritetest.UniqueName(t))
	log := &logBuffer{}
	a := newApp(t, "", map[string]string{"Work": q.function()}, succeed)
	config := a.config()
	config.Log = log.logger()
	a.start(config)
	if _, err := q.client.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	q.send("hello")
	a.invocation()
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the host complained:\n%s", text)
	}
}

func TestBatchLimits(t *testing.T) {
	q := newTestQueue(t)
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	var mu sync.Mutex
	running, most := 0, 0
	a := newApp(t, `"extensions": {"queues": {"batchSize": 2, "newBatchThreshold": 1}}`, map[string]string{"Work": q.function()},
		func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			arrived <- struct{}{}
			<-release
			mu.Lock()
			running--
			mu.Unlock()
			succeed(w, r)
		})
	for n := range 8 {
		q.send(strconv.Itoa(n))
	}
	a.start(a.config())
	for range 2 {
		<-arrived
	}
	for range 8 {
		release <- struct{}{}
		a.invocation()
	}
	mu.Lock()
	defer mu.Unlock()
	if most < 2 || most > 3 {
		t.Errorf("%d messages ran at once, want 2 or 3", most)
	}
}

func TestInvisibilityIsRenewed(t *testing.T) {
	q, clock := newTestQueue(t), newTestQueue(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	a := newApp(t, "", map[string]string{"Work": q.function()}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		succeed(w, r)
	})
	config := a.config()
	config.MessageInvisibility = 2 * time.Second
	a.start(config)
	q.send("long work")
	<-arrived
	// A message that the storage service shows only after twice that time.
	delay := int32(4)
	if _, err := clock.client.EnqueueMessage(t.Context(), "now", &azqueue.EnqueueMessageOptions{VisibilityTimeout: &delay}); err != nil {
		t.Fatal(err)
	}
	clock.await()
	if got := q.texts(); len(got) != 0 {
		t.Errorf("the message under way became visible: %q", got)
	}
	close(release)
	if i := a.invocation(); i.Err != nil || i.DequeueCount != 1 {
		t.Errorf("invocation = %+v", i)
	}
	if n := q.count(); n != 0 {
		t.Errorf("%d messages are left, want none: the newest pop receipt deletes it", n)
	}
}

func TestAnswerRules(t *testing.T) {
	for name, test := range map[string]struct {
		contentType, body string
		status            int
		ok                bool
	}{
		"empty object":           {"application/json", `{}`, 200, true},
		"with charset":           {"application/json; charset=utf-8", `{"Outputs":{},"Logs":[],"ReturnValue":null}`, 200, true},
		"other success status":   {"application/json", `{}`, 202, true},
		"plain text":             {"text/plain", `{}`, 200, false},
		"not an object":          {"application/json", `[1]`, 200, false},
		"logs are one text":      {"application/json", `{"Logs": "text"}`, 200, false},
		"logs hold numbers":      {"text/json", `{"logs": [1, "two"]}`, 201, true},
		"a kind of JSON":         {"application/problem+json", `{}`, 200, false},
		"moved":                  {"application/json", `{}`, 302, false},
		"logs hold objects":      {"application/json", `{"Logs": [{}]}`, 200, false},
		"not JSON":               {"application/json", `{`, 200, false},
		"client error":           {"application/json", `{}`, 404, false},
		"server error with logs": {"application/json", `{"Logs": ["lost"]}`, 500, false},
	} {
		t.Run(name, func(t *testing.T) {
			res := &http.Response{StatusCode: test.status, Header: http.Header{"Content-Type": {test.contentType}}, ContentLength: int64(len(test.body))}
			if _, err := parseAnswer(res, []byte(test.body)); (err == nil) != test.ok || errors.Is(err, errNoAnswer) {
				t.Errorf("error = %v, want success: %v", err, test.ok)
			}
		})
	}
	for name, body := range map[string]string{"empty": "", "null": "null", "blank": " \n"} {
		t.Run(name, func(t *testing.T) {
			res := &http.Response{StatusCode: 202, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: -1}
			if _, err := parseAnswer(res, []byte(body)); !errors.Is(err, errNoAnswer) {
				t.Errorf("error = %v, want the one of a hang", err)
			}
		})
	}
}

func FuzzMetadataMerge(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"Id":"x","sys":{}}`, `{`, `[1]`, `{"a":{"b":[null]},"c":true,"C":1e400}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		meta := newMetadata("Work")
		queueMetadata(meta, messageFacts{}, text)
		body, err := encoder{}.envelope(map[string]value{"message": text}, meta)
		must(t, err)
		if !json.Valid(body) {
			t.Errorf("the envelope of %q is not JSON: %s", text, body)
		}
	})
}
