package compliance

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/m365sim"
)

// subscribed returns a world with subscriptions and no sync.
func subscribed(t *testing.T, tenants int) *world {
	t.Helper()
	w := newWorld(t, small(tenants, 1))
	w.reconcile()
	return w
}

// rowsOf returns our rows of a tenant's subscriptions.
func (w *world) rowsOf(tenantID string) []subscription {
	w.t.Helper()
	rows, err := w.process.keeper.rows(w.t.Context(), tenantID)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func (w *world) wantSubscriptions(tenantID string, n int) {
	w.t.Helper()
	if got := len(w.M365.Subscriptions(tenantID)); got != n {
		w.t.Errorf("Graph has %d subscriptions of tenant %s, want %d", got, tenantID, n)
	}
	if got := len(w.rowsOf(tenantID)); got != n {
		w.t.Errorf("our table has %d subscriptions of tenant %s, want %d", got, tenantID, n)
	}
}

// changes counts the calls that change subscriptions.
func (w *world) subscriptionCalls() map[string]int {
	calls := map[string]int{}
	for call, n := range w.M365.Calls() {
		if strings.Contains(call, "/subscriptions") {
			calls[strings.TrimPrefix(call, "graph ")] = n
		}
	}
	return calls
}

func TestOneSubscriptionPerTenant(t *testing.T) {
	w := newWorld(t, small(3, 1))
	// When Graph knocks, the row must be there: the first notifications may
	// come before Graph's answer.
	rows := make(chan int, 100)
	receiver := w.process.receiver
	w.door.open(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if all, err := receiver.verifier.list(r.Context()); err == nil && all[r.URL.Query().Get("subscription")].ID != "" {
			rows <- 1
		}
		receiver.ServeHTTP(rw, r)
	}))
	w.reconcile()
	if n := len(rows); n != 6 {
		t.Errorf("our row was there at %d of 6 handshakes", n)
	}
	seen := map[string]bool{}
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 1)
		sub, row := w.subscription(tn.ID), w.rowsOf(tn.ID)[0]
		if seen[sub.ClientState] || len(sub.ClientState) < 64 || len(sub.ClientState) > 128 {
			t.Errorf("the client state has %d characters, or is not the tenant's own", len(sub.ClientState))
		}
		seen[sub.ClientState] = true
		if left := sub.Expires.Sub(w.clock.now()); left < 27*24*time.Hour || left > m365.MaxSubscriptionLife {
			t.Errorf("the subscription lasts %s", left)
		}
		if row.RenewAt.After(sub.Expires.Add(-7 * 24 * time.Hour)) {
			t.Errorf("the subscription ends %s and is renewed %s", sub.Expires, row.RenewAt)
		}
	}
	w.M365.ResetCalls()
	w.clock.advance(time.Hour)
	w.reconcile()
	w.process.keeper.AfterSync(t.Context(), w.Seed.Tenants[0].ID)
	if calls := w.subscriptionCalls(); len(calls) != 0 {
		t.Errorf("what was in order cost calls: %v", calls)
	}
	w.wantLogbook(0)
	w.noViolations()
}

func TestAfterSyncSubscribes(t *testing.T) {
	w := newWorld(t, small(2, 1))
	w.process.keeper.AfterSync(t.Context(), w.Seed.Tenants[1].ID)
	w.wantSubscriptions(w.Seed.Tenants[0].ID, 0)
	w.wantSubscriptions(w.Seed.Tenants[1].ID, 1)
}

func TestSubscriptionsAreRenewedInTime(t *testing.T) {
	w := subscribed(t, 4)
	w.M365.ResetCalls()
	renewed := map[int]int{} // day to renewals
	for day := range 60 {
		w.clock.advance(24 * time.Hour)
		before := w.subscriptionCalls()["PATCH /v1.0/subscriptions/{id}"]
		w.reconcile()
		if n := w.subscriptionCalls()["PATCH /v1.0/subscriptions/{id}"] - before; n > 0 {
			renewed[day] += n
		}
		for _, tn := range w.Seed.Tenants {
			w.wantSubscriptions(tn.ID, 1)
		}
	}
	if calls := w.subscriptionCalls(); calls["POST /v1.0/subscriptions"] != 0 || calls["GET /v1.0/subscriptions"] != 0 {
		t.Errorf("renewing took %v", calls)
	}
	if len(renewed) < 4 {
		t.Errorf("the renewals are not spread: %v", renewed)
	}
	w.noViolations()
}

func TestASubscriptionThatGraphLostIsMadeAnew(t *testing.T) {
	w := subscribed(t, 1)
	id := w.Seed.Tenants[0].ID
	tests := map[string]func(){
		"found by the daily check": func() {
			w.M365.LoseSubscription(w.subscription(id).ID)
			w.clock.advance(checkEvery)
			w.reconcile()
		},
		"found when it is renewed": func() {
			w.M365.LoseSubscription(w.subscription(id).ID)
			w.clock.advance(21 * 24 * time.Hour)
			w.reconcile()
		},
		"told by Graph": func() {
			sub := w.subscription(id)
			w.M365.LoseSubscription(sub.ID)
			w.deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "subscriptionRemoved"))
			w.process.work(t, w)
		},
		"ended while nobody was there": func() {
			w.clock.advance(30 * 24 * time.Hour)
			w.reconcile()
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			w.queue.take()
			lose()
			w.wantSubscriptions(id, 1)
			if m := w.queue.take(); len(m) != 1 || m[0].TenantID != id || m[0].Event != "" {
				t.Errorf("queued %+v, want a sweep for what was lost meanwhile", m)
			}
			sub := w.subscription(id)
			w.restart() // a process that remembers Graph's old id is covered by the stray's test
			w.deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, "0c0c0c0c-0000-4000-8000-00000000000c"))
			if m := w.queue.take(); len(m) != 1 || len(m[0].DeviceIDs) != 1 {
				t.Errorf("queued %+v for a notification of the new subscription", m)
			}
		})
	}
	w.noViolations()
}

// work handles one round of messages, and leaves what that queues.
func (p *process) work(t *testing.T, w *world) {
	t.Helper()
	for _, m := range w.queue.take() {
		if err := p.worker.Update(t.Context(), m, 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLifecycleNotifications(t *testing.T) {
	w := subscribed(t, 1)
	id := w.Seed.Tenants[0].ID
	sub := w.subscription(id)
	w.clock.advance(24*time.Hour - time.Minute)
	w.deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "reauthorizationRequired"), m365sim.LifecycleNotification(sub, "reauthorizationRequired"))
	if n := len(w.queue.messages); n != 1 {
		t.Errorf("one event, told twice, made %d messages", n)
	}
	w.process.work(t, w)
	after := w.subscription(id)
	if after.ID != sub.ID || after.Reauthorized != 1 || !after.Expires.After(sub.Expires) {
		t.Errorf("after reauthorizationRequired the subscription is %+v", after)
	}
	for _, event := range []string{"missed", "somethingNew"} {
		w.deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, event))
		if m := w.queue.take(); len(m) != 1 || m[0].TenantID != id || m[0].Event != "" || len(m[0].DeviceIDs) != 0 {
			t.Errorf("%s queued %+v, want a sweep", event, m)
		}
	}
	// A false alarm changes nothing.
	w.deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "subscriptionRemoved"))
	w.process.work(t, w)
	if now := w.subscription(id); now.ID != sub.ID {
		t.Error("a subscription that Graph has was made anew")
	}
	w.noViolations()
}

func TestSubscriptionsMoveWithTheAddress(t *testing.T) {
	w := subscribed(t, 2)
	id := w.Seed.Tenants[0].ID
	old := w.subscription(id)
	moved := strings.Replace(w.front.URL, "127.0.0.1", "localhost", 1)
	w.process.keeper.BaseURL = moved
	w.reconcile()
	w.wantSubscriptions(id, 1)
	sub := w.subscription(id)
	if sub.ID == old.ID || !strings.HasPrefix(sub.NotificationURL, moved+Path) || sub.ClientState == old.ClientState {
		t.Errorf("after the move the subscription goes to %s", sub.NotificationURL)
	}

	// Without an address there is nothing to subscribe to, and that is said once.
	w.process.keeper.BaseURL = ""
	w.reconcile()
	w.reconcile()
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 0)
	}
	w.wantLogbook(1, "Warn", "PUBLIC_BASE_URL")
	w.noViolations()
}

func TestSubscriptionsThatNobodyWantsAreRemoved(t *testing.T) {
	w := subscribed(t, 2)
	a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
	w.unmap(a)
	w.settle()
	w.wantSubscriptions(a, 0)
	w.wantSubscriptions(b, 1)
	if s := w.status(a); s.TenantID != "" {
		t.Errorf("the status of a tenant that is not mapped is %+v", s)
	}

	field := storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": fieldName, "IntegrationId": ""}
	w.merge("CippMapping", field)
	w.settle()
	w.wantSubscriptions(b, 0)

	field["IntegrationId"] = w.Seed.FieldMapping[fieldName]
	w.merge("CippMapping", field)
	w.reconcile()
	w.wantSubscriptions(b, 1)

	w.givenBack = true
	w.clock.advance(settingsLife)
	w.reconcile() // somebody asked for that, so that nothing is waited for
	w.wantSubscriptions(b, 0)

	w.givenBack = false
	w.clock.advance(settingsLife)
	w.reconcile()
	w.wantSubscriptions(b, 1)

	w.turnOff()
	w.settle()
	w.wantSubscriptions(b, 0)
	w.noViolations()
}

// TestAMappingThatIsBeingSavedRemovesNothing has CIPP delete its mapping before
// it writes it anew.
func TestAMappingThatIsBeingSavedRemovesNothing(t *testing.T) {
	w := subscribed(t, 3)
	a, b, gone := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID, w.Seed.Tenants[2].ID
	table := w.app.Table("CippMapping")
	var saved []storage.Entity
	for _, id := range []string{a, b} {
		row, err := table.Get(t.Context(), "NinjaOneMapping", id)
		if err != nil {
			t.Fatal(err)
		}
		delete(row, "odata.etag")
		saved = append(saved, row)
	}
	before, status := w.subscription(a), w.status(a)
	for _, id := range []string{a, b, gone} {
		w.unmap(id)
	}
	// The other ways to a tenant's subscription leave the removal to the run.
	w.process.keeper.AfterSync(t.Context(), b)
	if err := w.process.keeper.Handle(t.Context(), Message{TenantID: a, Event: eventReauthorize, SubscriptionID: before.ID}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{a, b, gone} {
		w.wantSubscriptions(id, 1)
	}
	// Two runs meet the mapping while it is gone, a process ends in between, and
	// a run that meets it whole begins the waiting anew.
	unchanged := func() {
		t.Helper()
		for _, id := range []string{a, b, gone} {
			w.wantSubscriptions(id, 1)
		}
		now := w.status(a)
		if now.unwanted = status.unwanted; w.subscription(a).ID != before.ID || now != status {
			t.Errorf("the subscription is %+v, and was %+v; the status is %+v, and was %+v", w.subscription(a), before, now, status)
		}
	}
	w.reconcile()
	unchanged()
	w.clock.advance(settleTime - time.Second)
	w.restart()
	w.reconcile()
	unchanged()
	for _, row := range saved {
		w.merge("CippMapping", row)
	}
	// Only a table with rows says that a tenant is not among them.
	w.reconcile()
	w.wantSubscriptions(gone, 1)
	w.clock.advance(settleTime)
	w.reconcile()
	w.wantSubscriptions(gone, 0)
	if s := w.status(gone); s.TenantID != "" {
		t.Errorf("the status of a tenant that is not mapped is %+v", s)
	}
	w.unmap(a)
	w.clock.advance(time.Hour)
	w.reconcile()
	w.wantSubscriptions(a, 1)
	w.wantSubscriptions(b, 1)
	w.wantLogbook(0)
	w.noViolations()
}

// turnOff turns the extension off as CIPP does.
func (w *world) turnOff() {
	w.t.Helper()
	row, err := w.app.Table("Extensionsconfig").Get(w.t.Context(), "CippExtensions", "Config")
	if err != nil {
		w.t.Fatal(err)
	}
	var config map[string]map[string]any
	if err := json.Unmarshal([]byte(row.String("config")), &config); err != nil {
		w.t.Fatal(err)
	}
	config["NinjaOne"]["Enabled"] = false
	text, err := json.Marshal(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.merge("Extensionsconfig", storage.Entity{"PartitionKey": "CippExtensions", "RowKey": "Config", "config": string(text)})
}

func TestWhatGraphRefusesIsExplainedOnce(t *testing.T) {
	tests := map[string]struct {
		refuse func(w *world)
		allow  func(w *world)
		says   string
		kind   string
	}{
		"quota": {
			func(w *world) {
				for _, tn := range w.Seed.Tenants {
					w.M365.AddFault(m365sim.Fault{Service: "graph", Tenant: tn.ID, Method: "POST", Path: regexp.MustCompile("/subscriptions$"),
						Status: http.StatusForbidden, Message: "The limit of 100 subscriptions per application and tenant has been reached."})
				}
			},
			func(w *world) { w.M365.ClearFaults() }, "limit of Graph subscriptions", m365.SubscriptionQuota,
		},
		"consent": {
			func(w *world) {
				for _, tn := range w.Seed.Tenants {
					tn.Deny("Device.Read.All", "Directory.Read.All")
				}
			},
			func(w *world) {
				for _, tn := range w.Seed.Tenants {
					tn.Grant("Device.Read.All", "Directory.Read.All")
				}
			}, "Device.Read.All", m365.SubscriptionForbidden,
		},
		"the app cannot be reached": {
			func(w *world) { w.door.open(nil) },
			func(w *world) { w.door.open(w.process.receiver) }, "PUBLIC_BASE_URL", m365.SubscriptionUnreachable,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, small(3, 1))
			tt.refuse(w)
			for range 3 {
				w.reconcile()
				w.clock.advance(time.Hour)
			}
			w.wantLogbook(1, "Warn", tt.says, w.Seed.Tenants[0].DefaultDomain, w.Seed.Tenants[2].DefaultDomain)
			for _, tn := range w.Seed.Tenants {
				w.wantSubscriptions(tn.ID, 0)
				if s := w.status(tn.ID); s.SubscriptionKind != tt.kind || s.SubscriptionProblem == "" || !s.Expires.IsZero() && s.Expires.After(w.clock.now()) {
					t.Errorf("the status is %+v", s)
				}
			}
			tt.allow(w)
			w.reconcile()
			w.wantLogbook(2, "Info", "No longer a problem")
			for _, tn := range w.Seed.Tenants {
				w.wantSubscriptions(tn.ID, 1)
				if s := w.status(tn.ID); s.SubscriptionKind != "" || !s.Expires.After(w.clock.now()) {
					t.Errorf("the status is %+v", s)
				}
			}
		})
	}
}

func TestATenantWithoutSignInIsLeftToTheSync(t *testing.T) {
	w := newWorld(t, small(2, 1))
	blocked := w.Seed.Tenants[0]
	blocked.SetLogin(m365sim.ConsentMissing)
	w.reconcile()
	w.wantSubscriptions(blocked.ID, 0)
	w.wantSubscriptions(w.Seed.Tenants[1].ID, 1)
	if s := w.status(blocked.ID); s.SubscriptionKind != kindSignIn {
		t.Errorf("the status is %+v", s)
	}
	w.wantLogbook(0)
}

func TestTwoProcessesMakeOneSubscription(t *testing.T) {
	w := newWorld(t, small(2, 1))
	first := w.process
	w.restart()
	done := make(chan error, 2)
	for _, p := range []*process{first, w.process} {
		go func() { done <- p.keeper.Reconcile(t.Context()) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 1)
	}
}
