package poison

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/cipp/cipptest"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

const contoso = "aaaaaaaa-0000-4000-8000-000000000001"

type world struct {
	*Watch
	t       *testing.T
	account *storage.Account
	source  Source
}

var must = fail.If

func newWorld(t *testing.T) *world {
	t.Helper()
	connection := azuritetest.ForTest(t).Apart().ConnectionString()
	account := storagetest.Open(t, connection)
	must(t, account.Table("Tenants").Merge(t.Context(), storage.Entity{"PartitionKey": "Tenants", "RowKey": contoso, "customerId": contoso,
		"displayName": "Contoso", "defaultDomainName": "contoso.example", "Excluded": false, "GraphErrorCount": int32(0)}))
	name := azuritetest.UniqueName(t)
	w := &world{t: t, account: account, source: Source{
		Queue: account.Queue(name), Poison: account.Queue(name + Suffix), API: "NinjaOneSync",
		One: "The sync of %s was not done.", All: "A sync was not done.", Then: "It is done again tomorrow.",
	}}
	w.Watch = &Watch{
		Sources: []Source{w.source, {Queue: account.Queue(name + "-b"), Poison: account.Queue(name + "-b" + Suffix), API: "NinjaOne", One: "%s", All: "b"}},
		CIPP:    cipptest.Store(account), Table: account.Table(name), Most: 60, Now: time.Now,
	}
	return w
}

// fail puts a message where the host puts one that failed too often.
func (w *world) fail(body any) {
	w.t.Helper()
	must(w.t, w.source.Poison.Send(w.t.Context(), body, 0))
}

func (w *world) list() List {
	w.t.Helper()
	l, err := w.List(w.t.Context())
	must(w.t, err)
	return l
}

// lines are the logbook's lines as "API|Tenant|Severity|Message".
func (w *world) lines() []string {
	w.t.Helper()
	var all []string
	for _, e := range storagetest.Rows(w.t, w.account.Table("CippLogs"), "") {
		all = append(all, strings.Join([]string{e.String("API"), e.String("Tenant"), e.String("Severity"), e.String("Message")}, "|"))
	}
	return all
}

// Where it is known why the messages of a tenant failed, the line says it.
func TestSaysWhyAMessageFailed(t *testing.T) {
	w := newWorld(t)
	w.Sources[0].Why = func(_ context.Context, tenantID string) (string, error) {
		return map[string]string{contoso: "The sync could not begin: the lease was refused."}[tenantID], nil
	}
	w.fail(map[string]any{"tenantId": contoso})
	w.fail(map[string]any{"tenantId": "aaaaaaaa-0000-4000-8000-000000000002"})
	must(t, w.Tell(t.Context()))
	lines := w.lines()
	count := func(end string) (n int) {
		for _, l := range lines {
			if strings.HasSuffix(l, "It is done again tomorrow. "+end) {
				n++
			}
		}
		return n
	}
	if len(lines) != 2 || count("The sync could not begin: the lease was refused.") != 1 || count(unknown) != 1 {
		t.Errorf("the logbook says %q", lines)
	}
}

func TestTellsOfEachMessageOnce(t *testing.T) {
	w := newWorld(t)
	must(t, w.Tell(t.Context()))
	if lines := w.lines(); len(lines) != 0 {
		t.Errorf("nothing failed, and the logbook says %q", lines)
	}
	w.fail(map[string]any{"tenantId": contoso, "force": true})
	for range 3 {
		must(t, w.Tell(t.Context()))
	}
	lines := w.lines()
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "NinjaOneSync|contoso.example|Error|The sync of contoso.example was not done. It failed too often, the last time at ") ||
		!strings.HasSuffix(lines[0], " UTC, and is now on the queue "+w.source.Poison.Name()+". It is done again tomorrow. "+unknown) {
		t.Errorf("the logbook says %q", lines)
	}
	w.fail(map[string]any{"tenantId": contoso})
	must(t, w.Tell(t.Context()))
	must(t, w.Tell(t.Context()))
	if lines := w.lines(); len(lines) != 2 {
		t.Errorf("after a second message the logbook says %q", lines)
	}
}

func TestManyMessages(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.fail(map[string]any{"tenantId": fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i)})
	}
	must(t, w.Tell(t.Context()))
	must(t, w.Tell(t.Context()))
	lines := w.lines()
	if len(lines) != 33 || !strings.Contains(strings.Join(lines, "\n"), "About 8 more messages are on the queue") {
		t.Errorf("the logbook has %d lines: %q", len(lines), lines)
	}
	if l := w.list(); len(l.Messages) != 32 || l.More != 8 {
		t.Errorf("%d messages and %d more", len(l.Messages), l.More)
	}
}

func TestDescribes(t *testing.T) {
	tests := []struct {
		name         string
		body         any
		tenant, what string
		readable     bool
	}{
		{"a tenant", map[string]string{"tenantId": strings.ToUpper(contoso)}, "contoso.example", "The sync of contoso.example was not done.", true},
		{"an unknown tenant", map[string]string{"tenantId": "cccccccc-0000-4000-8000-000000000001"}, "", "The sync of cccccccc-0000-4000-8000-000000000001 was not done.", true},
		{"all tenants", map[string]string{}, "", "A sync was not done.", true},
		{"no object", []string{"a secret"}, "", "cannot be read", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.fail(tt.body)
			l := w.list()
			if len(l.Messages) != 1 {
				t.Fatalf("%d messages", len(l.Messages))
			}
			m := l.Messages[0]
			if m.Tenant != tt.tenant || !strings.Contains(m.What, tt.what) || m.Readable != tt.readable || m.Since.IsZero() || m.Queue != w.source.Queue.Name() {
				t.Errorf("%+v", m)
			}
			if strings.Contains(m.What+m.Then, "secret") {
				t.Errorf("the message's own text is shown: %+v", m)
			}
			_, err := w.PutBack(t.Context(), m.Queue, m.ID)
			if want := map[bool]error{false: ErrUnreadable}[tt.readable]; !errors.Is(err, want) {
				t.Errorf("put back: %v", err)
			}
		})
	}
}

func TestPutBackAndRemove(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.fail(map[string]any{"tenantId": contoso, "n": i})
	}
	first := w.list().Messages[1]
	m, err := w.PutBack(t.Context(), first.Queue, first.ID)
	must(t, err)
	if m.Tenant != "contoso.example" {
		t.Errorf("put back %+v", m)
	}
	back, err := w.source.Queue.Peek(t.Context(), 32)
	must(t, err)
	if len(back) != 1 || !json.Valid(back[0].Body) || !strings.Contains(string(back[0].Body), `"n":1`) {
		t.Errorf("the queue holds %+v", back)
	}
	for _, again := range []func(context.Context, string, string) (Message, error){w.PutBack, w.Remove} {
		if _, err := again(t.Context(), first.Queue, first.ID); !errors.Is(err, ErrGone) {
			t.Errorf("a second time: %v", err)
		}
	}
	if _, err := w.Remove(t.Context(), "another-queue", first.ID); !errors.Is(err, ErrGone) {
		t.Errorf("another queue: %v", err)
	}
	left := w.list().Messages
	if len(left) != 2 {
		t.Fatalf("%d messages are left", len(left))
	}
	_, err = w.Remove(t.Context(), left[0].Queue, left[0].ID)
	must(t, err)
	if left = w.list().Messages; len(left) != 1 {
		t.Errorf("%d messages are left", len(left))
	}
	if n, err := w.source.Queue.Length(t.Context()); n != 1 || err != nil {
		t.Errorf("%d messages are on the queue, %v", n, err)
	}
}

// TestPutBackAllTakesAMinute leaves the rest to the next call when the minute is
// over.
func TestPutBackAllTakesAMinute(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		must(t, w.Sources[0].Poison.Send(t.Context(), map[string]any{"tenantId": "bbbbbbbb-0000-4000-8000-000000000001"}, 0))
	}
	at := time.Now()
	w.Now = func() time.Time { // it is asked twice for each message
		at = at.Add(longestBack / 6)
		return at
	}
	for _, want := range [][2]int{{3, 2}, {2, 0}} {
		back, left, err := w.PutBackAll(t.Context(), w.Sources[0].Queue.Name())
		if must(t, err); back != want[0] || left != want[1] {
			t.Errorf("%d were put back and %d are left, want %v", back, left, want)
		}
	}
}

// TestPutBackAll puts so many messages back and goes on with the rest, tells
// of each tenant that its message waits, and leaves what cannot be read.
func TestPutBackAll(t *testing.T) {
	w := newWorld(t)
	marked := map[string]int{}
	w.Sources[0].Queued = func(_ context.Context, tenantID string, _ time.Time) error {
		marked[tenantID]++
		return nil
	}
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	const tenants = 100
	for i := range tenants {
		group.Go(func() error {
			return w.Sources[0].Poison.Send(ctx, map[string]any{"tenantId": fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i)}, 0)
		})
	}
	must(t, group.Wait())
	w.fail([]string{"a secret"})
	if l := w.list(); len(l.Many) != 1 || l.Many[0] != (Many{w.Sources[0].Queue.Name(), tenants + 1}) {
		t.Errorf("several can be put back of %+v", l.Many)
	}
	at := time.Now()
	w.Now = func() time.Time { return at } // however slow the machine is
	back, left, err := w.PutBackAll(t.Context(), w.Sources[0].Queue.Name())
	if must(t, err); back != w.Most || left != 41 || len(marked) != w.Most {
		t.Errorf("%d were put back, %d are left, and %d tenants are marked", back, left, len(marked))
	}
	back, left, err = w.PutBackAll(t.Context(), w.Sources[0].Queue.Name())
	if must(t, err); back != 40 || left != 1 || len(marked) != tenants {
		t.Errorf("%d more were put back, %d are left, and %d tenants are marked", back, left, len(marked))
	}
	if n, err := w.Sources[0].Queue.Length(t.Context()); n != tenants || err != nil {
		t.Errorf("%d messages are on the queue, %v", n, err)
	}
	if l := w.list(); len(l.Messages) != 1 || l.Messages[0].Readable || len(l.Many) > 0 {
		t.Errorf("left are %+v", l)
	}
	if back, left, err = w.PutBackAll(t.Context(), w.Sources[0].Queue.Name()); back != 0 || left != 1 || err != nil {
		t.Errorf("a third time: %d, %d, %v", back, left, err)
	}
	if _, _, err := w.PutBackAll(t.Context(), "another-queue"); !errors.Is(err, ErrGone) {
		t.Errorf("another queue: %v", err)
	}
}

// TestPutBackLight puts a message of a light run back: the schedule is not told to
// wait for it.
func TestPutBackLight(t *testing.T) {
	w := newWorld(t)
	var noted []string
	w.Sources[0].Queued = func(_ context.Context, tenantID string, _ time.Time) error {
		noted = append(noted, tenantID)
		return nil
	}
	full, light := "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
	must(t, w.Sources[0].Poison.Send(t.Context(), map[string]any{"tenantId": full}, 0))
	must(t, w.Sources[0].Poison.Send(t.Context(), map[string]any{"tenantId": light, "light": true}, 0))
	back, left, err := w.PutBackAll(t.Context(), w.Sources[0].Queue.Name())
	if must(t, err); back != 2 || left != 0 || !slices.Equal(noted, []string{full}) {
		t.Errorf("%d were put back, %d are left, noted are %v", back, left, noted)
	}
}
