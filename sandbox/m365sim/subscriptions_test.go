package m365sim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

// listener receives handshakes and notifications.
type listener struct {
	*httptest.Server
	mu         sync.Mutex
	handshakes []string // paths with query
	bodies     []string
	answer     func(w http.ResponseWriter, token string)
}

func listen(t *testing.T) *listener {
	l := &listener{answer: func(w http.ResponseWriter, token string) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, token)
	}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if token := r.URL.Query().Get("validationToken"); token != "" {
			l.handshakes = append(l.handshakes, r.URL.Path+"?a="+r.URL.Query().Get("a"))
			l.answer(w, token)
			return
		}
		body, _ := io.ReadAll(r.Body)
		l.bodies = append(l.bodies, string(body))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(l.Close)
	return l
}

// subscription is a good request with changes; an empty value removes one.
func (l *listener) subscription(changes ...string) string {
	body := map[string]string{"changeType": "updated", "resource": "devices", "notificationUrl": l.URL + "/n?a=1",
		"lifecycleNotificationUrl": l.URL + "/l?a=2", "clientState": "state", "expirationDateTime": stampAt(testDay.Add(24 * time.Hour))}
	for i := 0; i+1 < len(changes); i += 2 {
		if body[changes[i]] = changes[i+1]; changes[i+1] == "" {
			delete(body, changes[i])
		}
	}
	b, _ := json.Marshal(body)
	return string(b)
}

func stampAt(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *sim) subscribe(body string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, s.Graph+"/v1.0/subscriptions", s.token(s.tenant, m365sim.GraphResource), body, "Content-Type", "application/json")
}

func TestSubscriptionLife(t *testing.T) {
	s, l := start(t, m365sim.Config{}), listen(t)
	a := s.subscribe(l.subscription())
	if a.status != http.StatusCreated {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	if want := []string{"/n?a=1", "/l?a=2"}; len(l.handshakes) != 2 || l.handshakes[0] != want[0] || l.handshakes[1] != want[1] {
		t.Errorf("handshakes with %v, want %v", l.handshakes, want)
	}
	id, _ := a.json(t)["id"].(string)
	address, token := s.Graph+"/v1.0/subscriptions/"+id, s.token(s.tenant, m365sim.GraphResource)
	read := s.do(http.MethodGet, address, token, "")
	if body := read.json(t); read.status != 200 || body["clientState"] != nil || body["id"] != id {
		t.Errorf("read %d %s", read.status, read.body)
	}
	later := stampAt(testDay.Add(48 * time.Hour))
	if a := s.do(http.MethodPatch, address, token, `{"expirationDateTime":"`+later+`"}`, "Content-Type", "application/json"); a.status != 200 || a.json(t)["expirationDateTime"] != later {
		t.Errorf("renewed %d %s", a.status, a.body)
	}
	if a := s.do(http.MethodPost, address+"/reauthorize", token, ""); a.status != http.StatusNoContent {
		t.Errorf("reauthorized %d %s", a.status, a.body)
	}
	if sub := s.Subscriptions(s.tenant.ID); len(sub) != 1 || sub[0].Reauthorized != 2 || sub[0].ClientState != "state" {
		t.Errorf("the server has %+v", sub)
	}
	other := s.token(s.Tenants()[1], m365sim.GraphResource)
	if s.Tenants()[1].ID != s.tenant.ID {
		if a := s.do(http.MethodGet, address, other, ""); a.status != http.StatusNotFound {
			t.Errorf("another tenant reads %d", a.status)
		}
	}
	if a := s.do(http.MethodDelete, address, token, ""); a.status != http.StatusNoContent {
		t.Errorf("removed %d %s", a.status, a.body)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := s.do(method, address, token, ""); a.status != http.StatusNotFound {
			t.Errorf("%s of a removed one answered %d", method, a.status)
		}
	}
	s.noViolations()

	s.subscribe(l.subscription())
	s.clock.move(25 * time.Hour)
	if n := len(s.Subscriptions(s.tenant.ID)); n != 0 {
		t.Errorf("%d subscriptions outlived their end", n)
	}
}

func TestSubscriptionRefusals(t *testing.T) {
	s, l := start(t, m365sim.Config{}), listen(t)
	tests := map[string][]string{
		"no resource":               {"resource", ""},
		"no change type":            {"changeType", ""},
		"no address":                {"notificationUrl", ""},
		"no end":                    {"expirationDateTime", ""},
		"another resource":          {"resource", "deviceManagement/managedDevices"},
		"another change type":       {"changeType", "created"},
		"plain http":                {"notificationUrl", "http://sync.fabrikam.example/n"},
		"plain http for lifecycles": {"lifecycleNotificationUrl", "http://sync.fabrikam.example/n"},
		"too long":                  {"expirationDateTime", stampAt(testDay.Add(m365sim.MaxSubscriptionLife + time.Minute))},
		"over already":              {"expirationDateTime", stampAt(testDay.Add(-time.Minute))},
		"not UTC":                   {"expirationDateTime", "2031-05-15T00:00:00+01:00"},
		"long client state":         {"clientState", strings.Repeat("x", 129)},
		"unknown property":          {"resourceData", "true"},
	}
	for name, changes := range tests {
		t.Run(name, func(t *testing.T) {
			if a := s.subscribe(l.subscription(changes...)); a.status != http.StatusBadRequest {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			s.violated()
		})
	}
	handshakes := map[string]func(w http.ResponseWriter, token string){
		"202": func(w http.ResponseWriter, token string) { w.WriteHeader(http.StatusAccepted) },
		"html": func(w http.ResponseWriter, token string) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, token)
		},
		"other token": func(w http.ResponseWriter, token string) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, token+"\n")
		},
	}
	for name, answer := range handshakes {
		t.Run("handshake: "+name, func(t *testing.T) {
			l := listen(t)
			l.answer = answer
			a := s.subscribe(l.subscription())
			if code, message := a.code(); a.status != http.StatusBadRequest || code != "ValidationError" || !strings.Contains(message, "validation") {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
	if n := len(s.Subscriptions(s.tenant.ID)); n != 0 {
		t.Errorf("%d refused subscriptions exist", n)
	}
	s.noViolations()

	s.SetSubscriptionQuota(1)
	s.subscribe(l.subscription())
	if a := s.subscribe(l.subscription()); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "limit") {
		t.Errorf("beyond the quota: %d %s", a.status, a.body)
	}
	s.tenant.Deny("Device.Read.All", "Directory.Read.All")
	if a := s.subscribe(l.subscription()); a.status != http.StatusForbidden || strings.Contains(string(a.body), "limit") {
		t.Errorf("without permission: %d %s", a.status, a.body)
	}
}

func TestListingSubscriptionsIsThrottledHard(t *testing.T) {
	s := start(t, m365sim.Config{})
	for i := range 41 {
		a := s.get("/v1.0/subscriptions")
		if want := map[bool]int{true: 200, false: 429}[i < 40]; a.status != want {
			t.Fatalf("list %d answered %d, want %d", i+1, a.status, want)
		}
	}
	s.clock.move(20 * time.Second)
	if a := s.get("/v1.0/subscriptions"); a.status != 200 {
		t.Errorf("after the limit's time a list answered %d", a.status)
	}
}

func TestDeliver(t *testing.T) {
	s, l := start(t, m365sim.Config{}), listen(t)
	s.subscribe(l.subscription())
	sub := s.Subscriptions(s.tenant.ID)[0]
	managed := s.tenant.ManagedDevices[0].ID()
	object := s.ChangeCompliance(s.tenant.ID, managed, "noncompliant")
	status, err := s.Deliver(t.Context(), sub.NotificationURL, m365sim.DeviceNotification(sub, object), m365sim.LifecycleNotification(sub, "missed"))
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("delivered %d, %v", status, err)
	}
	var got struct {
		Value []struct {
			SubscriptionID, ClientState, LifecycleEvent, TenantID string
			ResourceData                                          struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(l.bodies[0]), &got); err != nil || len(got.Value) != 2 {
		t.Fatalf("delivered %s (%v)", l.bodies[0], err)
	}
	if v := got.Value[0]; v.SubscriptionID != sub.ID || v.ClientState != "state" || v.TenantID != s.tenant.ID || v.ResourceData.ID != object || object == "" {
		t.Errorf("the device's notification is %+v", v)
	}
	if v := got.Value[1]; v.LifecycleEvent != "missed" || v.SubscriptionID != sub.ID {
		t.Errorf("the lifecycle notification is %+v", v)
	}
	rows := s.get("/v1.0/devices/" + object + "?$select=id,isCompliant").json(t)
	if rows["isCompliant"] != false {
		t.Errorf("Entra says %v", rows)
	}
}
