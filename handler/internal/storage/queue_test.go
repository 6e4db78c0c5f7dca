package storage

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

func TestQueue(t *testing.T) {
	ctx := t.Context()
	q := emulator(t).Queue(azuritetest.UniqueName(t))
	messages, err := q.Peek(ctx, 5)
	must(t, err)
	length, err := q.Length(ctx)
	must(t, err)
	if len(messages) != 0 || length != 0 {
		t.Fatalf("a missing queue has %d messages and the length %d", len(messages), length)
	}

	must(t, q.Send(ctx, map[string]any{"tenantId": "contoso", "note": "<&>"}, 0))
	must(t, q.Send(ctx, "later", time.Hour))
	length, err = q.Length(ctx)
	must(t, err)
	if length != 2 {
		t.Errorf("length is %d, want 2", length)
	}
	messages, err = q.Peek(ctx, 100)
	must(t, err)
	if len(messages) != 1 || messages[0].ID == "" || messages[0].Dequeued != 0 || messages[0].Inserted.IsZero() {
		t.Fatalf("messages are %+v", messages)
	}
	if got := string(messages[0].Body); got != `{"note":"\u003c\u0026\u003e","tenantId":"contoso"}` {
		t.Errorf("body is %s", got)
	}

	raw, err := q.client.DequeueMessage(ctx, nil)
	must(t, err)
	text := *raw.Messages[0].MessageText
	if body, err := base64.StdEncoding.DecodeString(text); err != nil || !bytes.Equal(body, messages[0].Body) {
		t.Errorf("the message is not the JSON in base64 but %q", text)
	}
	if expires := raw.Messages[0].ExpirationTime; expires == nil || expires.Year() < 2100 {
		t.Errorf("the message expires at %v", expires)
	}
	_, err = q.client.EnqueueMessage(ctx, `{"by":"hand"}`, &azqueue.EnqueueMessageOptions{})
	must(t, err)
	messages, err = q.Peek(ctx, 1)
	must(t, err)
	if len(messages) != 1 || string(messages[0].Body) != `{"by":"hand"}` {
		t.Errorf("a plain message was read as %+v", messages)
	}
}

func TestSendLimits(t *testing.T) {
	ctx := t.Context()
	q := emulator(t).Queue(azuritetest.UniqueName(t))
	must(t, q.Send(ctx, strings.Repeat("x", MaxMessage-2), 0))
	for name, err := range map[string]error{
		"too large":      q.Send(ctx, strings.Repeat("x", MaxMessage-1), 0),
		"no JSON":        q.Send(ctx, make(chan int), 0),
		"negative delay": q.Send(ctx, 1, -time.Second),
		"delay too long": q.Send(ctx, 1, 8*24*time.Hour),
	} {
		if err == nil || !strings.Contains(err.Error(), q.Name()) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestDecodeMessage(t *testing.T) {
	for text, want := range map[string]string{
		"eyJhIjoxfQ==": `{"a":1}`, " eyJhIjoxfQ==\n": `{"a":1}`, `{"a":1}`: `{"a":1}`, `"quoted"`: `"quoted"`, "not base64!": "not base64!", "": "", "/////w==": "/////w==",
	} {
		if got := string(DecodeMessage(text)); got != want {
			t.Errorf("%q gave %q, want %q", text, got, want)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte(`{"tenantId":"x"}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			return
		}
		if got := DecodeMessage(base64.StdEncoding.EncodeToString(body)); !bytes.Equal(got, body) && len(body) > 0 {
			t.Errorf("%q came back as %q", body, got)
		}
		_ = DecodeMessage(string(body))
	})
}

func TestTake(t *testing.T) {
	ctx := t.Context()
	q := emulator(t).Queue(azuritetest.UniqueName(t))
	take := func(limit int, do func(Message) (bool, error)) (int, error) {
		return q.Take(ctx, limit, func(_ context.Context, m Message) (bool, error) { return do(m) })
	}
	if n, err := take(0, func(Message) (bool, error) { return true, nil }); n != 0 || err != nil {
		t.Errorf("a missing queue gave %d, %v", n, err)
	}
	const messages = 70
	for i := range messages {
		must(t, q.Send(ctx, map[string]int{"n": i}, 0))
	}
	bodies := func() []string {
		seen := map[string]int{}
		_, err := take(0, func(m Message) (bool, error) { seen[string(m.Body)]++; return false, nil })
		must(t, err)
		for body, n := range seen {
			if n != 1 {
				t.Errorf("%s was seen %d times", body, n)
			}
		}
		return slices.Sorted(maps.Keys(seen))
	}
	if n := len(bodies()); n != messages {
		t.Fatalf("%d messages were seen, want %d", n, messages)
	}
	n, err := take(1, func(m Message) (bool, error) { return strings.Contains(string(m.Body), ":4"), nil })
	if n != 1 || err != nil || len(bodies()) != messages-1 {
		t.Errorf("one was to go: %d, %v; %d are left", n, err, len(bodies()))
	}
	boom := errors.New("boom")
	n, err = take(0, func(m Message) (bool, error) {
		if string(m.Body) == `{"n":69}` {
			return true, boom
		}
		return false, nil
	})
	if n != 0 || !errors.Is(err, boom) || !slices.Contains(bodies(), `{"n":69}`) {
		t.Errorf("a failure: %d, %v", n, err)
	}
	n, err = take(0, func(m Message) (bool, error) { return true, nil })
	if n != messages-1 || err != nil || len(bodies()) != 0 {
		t.Errorf("all were to go: %d, %v", n, err)
	}
}
