package subscriptions_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/assignments"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/notify"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/handler/internal/subscriptions"
	"cipp-ninjaone/handler/internal/triggertest"
	"cipp-ninjaone/sandbox/m365sim"
)

// subscribed returns a world with subscriptions and no sync.
func subscribed(t *testing.T, tenants int) *world {
	t.Helper()
	w := newWorld(t, triggertest.Small(tenants, 1))
	w.Reconcile()
	return w
}

// rowsOf returns our rows of a tenant's subscriptions.
func (w *world) rowsOf(tenantID string) []subscriptions.Subscription {
	w.T.Helper()
	rows, err := subscriptions.RowsOf(w.T.Context(), w.Own.Table(assignments.TableName), tenantID)
	must(w.T, err)
	return rows
}

func (w *world) wantSubscriptions(tenantID string, n int) {
	w.T.Helper()
	if got := len(w.M365.Subscriptions(tenantID)); got != n {
		w.T.Errorf("Graph has %d subscriptions of tenant %s, want %d", got, tenantID, n)
	}
	if got := len(w.rowsOf(tenantID)); got != n {
		w.T.Errorf("our table has %d subscriptions of tenant %s, want %d", got, tenantID, n)
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
	w := newWorld(t, triggertest.Small(3, 1))
	// When Graph knocks, the row must be there: the first notifications may
	// come before Graph's answer.
	rows := make(chan int, 100)
	receiver, known := w.Process.Receiver, subscriptions.Known(w.Own.Table(assignments.TableName))
	w.Door.Open(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if all, err := known(r.Context()); err == nil && all[r.URL.Query().Get("subscription")].ID != "" {
			rows <- 1
		}
		receiver.ServeHTTP(rw, r)
	}))
	w.Reconcile()
	if n := len(rows); n != 6 {
		t.Errorf("our row was there at %d of 6 handshakes", n)
	}
	seen := map[string]bool{}
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 1)
		sub, row := w.Subscription(tn.ID), w.rowsOf(tn.ID)[0]
		if seen[sub.ClientState] || len(sub.ClientState) < 64 || len(sub.ClientState) > 128 {
			t.Errorf("the client state has %d characters, or is not the tenant's own", len(sub.ClientState))
		}
		seen[sub.ClientState] = true
		if left := sub.Expires.Sub(w.Clock.Now()); left < 27*24*time.Hour || left > m365.MaxSubscriptionLife {
			t.Errorf("the subscription lasts %s", left)
		}
		if row.RenewAt.After(sub.Expires.Add(-7 * 24 * time.Hour)) {
			t.Errorf("the subscription ends %s and is renewed %s", sub.Expires, row.RenewAt)
		}
	}
	w.M365.ResetCalls()
	w.Clock.Advance(time.Hour)
	w.Reconcile()
	w.Process.Keeper.AfterSync(t.Context(), w.Seed.Tenants[0].ID)
	if calls := w.subscriptionCalls(); len(calls) != 0 {
		t.Errorf("what was in order cost calls: %v", calls)
	}
	w.WantLogbook(0)
	w.NoViolations()
}

func TestAfterSyncSubscribes(t *testing.T) {
	w := newWorld(t, triggertest.Small(2, 1))
	w.Process.Keeper.AfterSync(t.Context(), w.Seed.Tenants[1].ID)
	w.wantSubscriptions(w.Seed.Tenants[0].ID, 0)
	w.wantSubscriptions(w.Seed.Tenants[1].ID, 1)
}

func TestSubscriptionsAreRenewedInTime(t *testing.T) {
	w := subscribed(t, 4)
	w.M365.ResetCalls()
	renewed := map[int]int{} // day to renewals
	for day := range 60 {
		w.Clock.Advance(24 * time.Hour)
		before := w.subscriptionCalls()["PATCH /v1.0/subscriptions/{id}"]
		w.Reconcile()
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
	w.NoViolations()
}

func TestASubscriptionThatGraphLostIsMadeAnew(t *testing.T) {
	w := subscribed(t, 1)
	id := w.Seed.Tenants[0].ID
	tests := map[string]func(){
		"found by the daily check": func() {
			w.M365.LoseSubscription(w.Subscription(id).ID)
			w.Clock.Advance(subscriptions.CheckEvery)
			w.Reconcile()
		},
		"found when it is renewed": func() {
			w.M365.LoseSubscription(w.Subscription(id).ID)
			w.Clock.Advance(21 * 24 * time.Hour)
			w.Reconcile()
		},
		"told by Graph": func() {
			sub := w.Subscription(id)
			w.M365.LoseSubscription(sub.ID)
			w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "subscriptionRemoved"))
			w.Work()
		},
		"ended while nobody was there": func() {
			w.Clock.Advance(30 * 24 * time.Hour)
			w.Reconcile()
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			w.Queue.Take()
			lose()
			w.wantSubscriptions(id, 1)
			if m := w.Queue.Take(); len(m) != 1 || m[0].TenantID != id || m[0].Event != "" {
				t.Errorf("queued %+v, want a sweep for what was lost meanwhile", m)
			}
			sub := w.Subscription(id)
			w.Restart() // a process that remembers Graph's old id is covered by the stray's test
			w.Deliver(sub.NotificationURL, m365sim.DeviceNotification(sub, "0c0c0c0c-0000-4000-8000-00000000000c"))
			if m := w.Queue.Take(); len(m) != 1 || len(m[0].DeviceIDs) != 1 {
				t.Errorf("queued %+v for a notification of the new subscription", m)
			}
		})
	}
	w.NoViolations()
}

func TestLifecycleNotifications(t *testing.T) {
	w := subscribed(t, 1)
	id := w.Seed.Tenants[0].ID
	sub := w.Subscription(id)
	w.Clock.Advance(24*time.Hour - time.Minute)
	w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "reauthorizationRequired"), m365sim.LifecycleNotification(sub, "reauthorizationRequired"))
	if n := len(w.Queue.Messages); n != 1 {
		t.Errorf("one event, told twice, made %d messages", n)
	}
	w.Work()
	after := w.Subscription(id)
	if after.ID != sub.ID || after.Reauthorized != 1 || !after.Expires.After(sub.Expires) {
		t.Errorf("after reauthorizationRequired the subscription is %+v", after)
	}
	for _, event := range []string{"missed", "somethingNew"} {
		w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, event))
		if m := w.Queue.Take(); len(m) != 1 || m[0].TenantID != id || m[0].Event != "" || len(m[0].DeviceIDs) != 0 {
			t.Errorf("%s queued %+v, want a sweep", event, m)
		}
	}
	// A false alarm changes nothing.
	w.Deliver(sub.LifecycleURL, m365sim.LifecycleNotification(sub, "subscriptionRemoved"))
	w.Work()
	if now := w.Subscription(id); now.ID != sub.ID {
		t.Error("a subscription that Graph has was made anew")
	}
	w.NoViolations()
}

func TestSubscriptionsMoveWithTheAddress(t *testing.T) {
	w := subscribed(t, 2)
	id := w.Seed.Tenants[0].ID
	old := w.Subscription(id)
	moved := strings.Replace(w.Front.URL, "127.0.0.1", "localhost", 1)
	w.Process.Keeper.BaseURL = moved
	w.Reconcile()
	w.wantSubscriptions(id, 1)
	sub := w.Subscription(id)
	if sub.ID == old.ID || !strings.HasPrefix(sub.NotificationURL, moved+notify.Path) || sub.ClientState == old.ClientState {
		t.Errorf("after the move the subscription goes to %s", sub.NotificationURL)
	}

	// The case of a host means nothing.
	w.Process.Keeper.BaseURL = strings.Replace(moved, "localhost", "LocalHost", 1)
	w.Reconcile()
	if now := w.Subscription(id); now.ID != sub.ID {
		t.Error("another case of the same host made the subscription anew")
	}

	// Without an address there is nothing to subscribe to, and that is said once.
	w.Process.Keeper.BaseURL = ""
	w.Reconcile()
	w.Reconcile()
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 0)
	}
	w.WantLogbook(1, "Warn", "PUBLIC_BASE_URL")
	w.NoViolations()
}

func TestSubscriptionsThatNobodyWantsAreRemoved(t *testing.T) {
	w := subscribed(t, 2)
	a, b := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID
	w.Unmap(a)
	w.Settle()
	w.wantSubscriptions(a, 0)
	w.wantSubscriptions(b, 1)
	if s := w.Status(a); s.TenantID != "" {
		t.Errorf("the status of a tenant that is not mapped is %+v", s)
	}

	field := storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": assignments.FieldName, "IntegrationId": ""}
	w.Merge("CippMapping", field)
	w.Settle()
	w.wantSubscriptions(b, 1) // for the settings that fail
	w.Merge("CippMapping", storage.Entity{"PartitionKey": "NinjaOneFieldMapping", "RowKey": assignments.SettingsName, "IntegrationId": ""})
	w.Settle()
	w.wantSubscriptions(b, 0)

	field["IntegrationId"] = w.Seed.FieldMapping[assignments.FieldName]
	w.Merge("CippMapping", field)
	w.Reconcile()
	w.wantSubscriptions(b, 1)

	w.GivenBack = true
	w.Clock.Advance(assignments.SettingsLife)
	w.Reconcile() // somebody asked for that, so that nothing is waited for
	w.wantSubscriptions(b, 0)

	w.GivenBack = false
	w.Clock.Advance(assignments.SettingsLife)
	w.Reconcile()
	w.wantSubscriptions(b, 1)

	w.turnOff()
	w.Settle()
	w.wantSubscriptions(b, 0)
	w.NoViolations()
}

// TestAMappingThatIsBeingSavedRemovesNothing has CIPP delete its mapping before
// it writes it anew.
func TestAMappingThatIsBeingSavedRemovesNothing(t *testing.T) {
	w := subscribed(t, 3)
	a, b, gone := w.Seed.Tenants[0].ID, w.Seed.Tenants[1].ID, w.Seed.Tenants[2].ID
	table := w.App.Table("CippMapping")
	var saved []storage.Entity
	for _, id := range []string{a, b} {
		row, err := table.Get(t.Context(), "NinjaOneMapping", id)
		must(t, err)
		delete(row, "odata.etag")
		saved = append(saved, row)
	}
	before, status := w.Subscription(a), w.Status(a)
	for _, id := range []string{a, b, gone} {
		w.Unmap(id)
	}
	// The other ways to a tenant's subscription leave the removal to the run.
	w.Process.Keeper.AfterSync(t.Context(), b)
	must(t, w.Process.Keeper.Handle(t.Context(), notify.Message{TenantID: a, Event: notify.EventReauthorize, SubscriptionID: before.ID}))
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
		now := w.Status(a)
		if now.Unwanted = status.Unwanted; w.Subscription(a).ID != before.ID || now != status {
			t.Errorf("the subscription is %+v, and was %+v; the status is %+v, and was %+v", w.Subscription(a), before, now, status)
		}
	}
	w.Reconcile()
	unchanged()
	w.Clock.Advance(subscriptions.SettleTime - time.Second)
	w.Restart()
	w.Reconcile()
	unchanged()
	for _, row := range saved {
		w.Merge("CippMapping", row)
	}
	// Only a table with rows says that a tenant is not among them.
	w.Reconcile()
	w.wantSubscriptions(gone, 1)
	w.Clock.Advance(subscriptions.SettleTime)
	w.Reconcile()
	w.wantSubscriptions(gone, 0)
	if s := w.Status(gone); s.TenantID != "" {
		t.Errorf("the status of a tenant that is not mapped is %+v", s)
	}
	w.Unmap(a)
	w.Clock.Advance(time.Hour)
	w.Reconcile()
	w.wantSubscriptions(a, 1)
	w.wantSubscriptions(b, 1)
	w.WantLogbook(0)
	w.NoViolations()
}

// turnOff turns the extension off as CIPP does.
func (w *world) turnOff() {
	w.T.Helper()
	row, err := w.App.Table("Extensionsconfig").Get(w.T.Context(), "CippExtensions", "Config")
	must(w.T, err)
	var config map[string]map[string]any
	must(w.T, json.Unmarshal([]byte(row.String("config")), &config))
	config["NinjaOne"]["Enabled"] = false
	text, err := json.Marshal(config)
	must(w.T, err)
	w.Merge("Extensionsconfig", storage.Entity{"PartitionKey": "CippExtensions", "RowKey": "Config", "config": string(text)})
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
			func(w *world) { w.Door.Open(nil) },
			func(w *world) { w.Door.Open(w.Process.Receiver) }, "PUBLIC_BASE_URL", m365.SubscriptionUnreachable,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, triggertest.Small(3, 1))
			tt.refuse(w)
			for range 3 {
				w.Reconcile()
				w.Clock.Advance(time.Hour)
			}
			w.WantLogbook(1, "Warn", tt.says, w.Seed.Tenants[0].DefaultDomain, w.Seed.Tenants[2].DefaultDomain)
			for _, tn := range w.Seed.Tenants {
				w.wantSubscriptions(tn.ID, 0)
				if s := w.Status(tn.ID); s.SubscriptionKind != tt.kind || s.SubscriptionProblem == "" || !s.Expires.IsZero() && s.Expires.After(w.Clock.Now()) {
					t.Errorf("the status is %+v", s)
				}
			}
			tt.allow(w)
			w.Reconcile()
			w.WantLogbook(2, "Info", "No longer a problem")
			for _, tn := range w.Seed.Tenants {
				w.wantSubscriptions(tn.ID, 1)
				if s := w.Status(tn.ID); s.SubscriptionKind != "" || !s.Expires.After(w.Clock.Now()) {
					t.Errorf("the status is %+v", s)
				}
			}
		})
	}
}

func TestATenantWithoutSignInIsLeftToTheSync(t *testing.T) {
	w := newWorld(t, triggertest.Small(2, 1))
	blocked := w.Seed.Tenants[0]
	blocked.SetLogin(m365sim.ConsentMissing)
	w.Reconcile()
	w.wantSubscriptions(blocked.ID, 0)
	w.wantSubscriptions(w.Seed.Tenants[1].ID, 1)
	if s := w.Status(blocked.ID); s.SubscriptionKind != assignments.KindSignIn {
		t.Errorf("the status is %+v", s)
	}
	w.WantLogbook(0)
}

func TestTwoProcessesMakeOneSubscription(t *testing.T) {
	w := newWorld(t, triggertest.Small(2, 1))
	first := w.Process
	w.Restart()
	done := make(chan error, 2)
	for _, p := range []*triggertest.Process{first, w.Process} {
		go func() { done <- p.Keeper.Reconcile(t.Context()) }()
	}
	for range 2 {
		must(t, <-done)
	}
	for _, tn := range w.Seed.Tenants {
		w.wantSubscriptions(tn.ID, 1)
	}
}

func TestAnEventThatCannotBeDoneIsLeftToTheTimer(t *testing.T) {
	w := subscribed(t, 1)
	sub := w.Subscription(w.Seed.Tenants[0].ID)
	w.M365.AddFault(m365sim.Fault{Service: "graph", Method: "DELETE", Status: http.StatusForbidden})
	m := notify.Message{TenantID: sub.TenantID, Event: notify.EventStray, SubscriptionID: "d9999999-9999-4999-8999-999999999999"}
	if err := w.Process.Worker.Update(t.Context(), m, 1); err == nil {
		t.Error("a failure was taken for success")
	}
	if err := w.Process.Worker.Update(t.Context(), m, 3); err != nil {
		t.Errorf("the last attempt failed, and would go to the poison queue: %v", err)
	}
}
