package m365

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

const routeSubscriptions = "POST /v1.0/subscriptions"

var asked = SubscriptionRequest{NotificationURL: "https://sync.fabrikam.example/n?subscription=1", ClientState: "state",
	Expires: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)}

func TestSubscribe(t *testing.T) {
	c := newCloud(t)
	c.on(routeSubscriptions, func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			c.problem("%v", err)
		}
		want := map[string]string{"changeType": "updated", "resource": "devices", "clientState": "state",
			"notificationUrl": asked.NotificationURL, "lifecycleNotificationUrl": asked.NotificationURL, "expirationDateTime": "2026-03-04T05:06:07Z"}
		for name, value := range want {
			if in[name] != value {
				c.problem("%s is %q, want %q", name, in[name], value)
			}
		}
		if len(in) != len(want) || r.Header.Get("Content-Type") != "application/json" {
			c.problem("sent %v as %s", in, r.Header.Get("Content-Type"))
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"id":"sub-1","expirationDateTime":"2026-03-03T00:00:00.1234567Z","notificationUrl":"x","clientState":"state"}`))
	})
	got, err := c.reader().Subscribe(t.Context(), testRef, asked)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "sub-1" || !got.Expires.Equal(time.Date(2026, 3, 3, 0, 0, 0, 123456700, time.UTC)) {
		t.Errorf("got %+v", got)
	}
}

func TestSubscribeIsNeverRepeated(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"throttled":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"unavailable":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"connection lost": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"answer cut": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"id":"su`))
		},
		"answer without id": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{}`))
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeSubscriptions, answer)
			_, err := c.reader().Subscribe(t.Context(), testRef, asked)
			refused, ok := errors.AsType[*SubscriptionError](err)
			if err == nil || ok != (name == "throttled") || ok && refused.Reason != SubscriptionThrottled {
				t.Errorf("error %v", err)
			}
			if n := c.count(routeSubscriptions); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

func TestSubscriptionRefusals(t *testing.T) {
	tests := map[string]struct {
		status  int
		message string
		reason  string
	}{
		"quota":       {403, "The limit of 100 subscriptions has been reached", SubscriptionQuota},
		"consent":     {403, "Insufficient privileges to complete the operation.", SubscriptionForbidden},
		"unreachable": {400, "Subscription validation request failed. The endpoint answered 404", SubscriptionUnreachable},
		"exists":      {409, "Subscription already exists", SubscriptionExists},
		"bad request": {400, "Invalid resource", SubscriptionRefused + " X"},
		"gone":        {404, "The object was not found.", SubscriptionGone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeSubscriptions, c.says(tt.status, `{"error":{"code":"X","message":"`+tt.message+`"}}`))
			_, err := c.reader().Subscribe(t.Context(), testRef, asked)
			refused, ok := errors.AsType[*SubscriptionError](err)
			if !ok || refused.Reason != tt.reason {
				t.Fatalf("error %v", err)
			}
			if text := err.Error(); !strings.Contains(text, testTenant) || !strings.Contains(text, ExplainSubscription(tt.reason)) || strings.Contains(text, tt.message) {
				t.Errorf("the error says %q", text)
			}
		})
	}
}

func TestSubscriptionCalls(t *testing.T) {
	c := newCloud(t)
	const path = "/v1.0/subscriptions/sub-1"
	c.on("GET "+path, c.says(200, `{"id":"sub-1","expirationDateTime":"2026-03-03T00:00:00Z"}`))
	c.on("PATCH "+path, func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in) != 1 {
			c.problem("renewed with %v (%v)", in, err)
		}
		if c.count("PATCH "+path) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable) // safe to repeat
			return
		}
		_, _ = w.Write([]byte(`{"id":"sub-1","expirationDateTime":"` + in["expirationDateTime"] + `"}`))
	})
	c.on("DELETE "+path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r := c.reader()
	if s, err := r.Subscription(t.Context(), testRef, "sub-1"); err != nil || s.Expires.IsZero() {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := r.RenewSubscription(t.Context(), testRef, "sub-1", asked.Expires); err != nil || !s.Expires.Equal(asked.Expires.Truncate(time.Second)) {
		t.Errorf("renewed to %+v, %v", s, err)
	}
	if n := c.count("PATCH " + path); n != 2 {
		t.Errorf("renewed with %d calls", n)
	}
	if err := r.Unsubscribe(t.Context(), testRef, "sub-1"); err != nil {
		t.Error(err)
	}
	if err := r.Unsubscribe(t.Context(), testRef, "another"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestListSubscriptions(t *testing.T) {
	c := newCloud(t)
	c.on("GET /v1.0/subscriptions", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "" {
			c.says(200, `{"value":[{"id":"sub-1","notificationUrl":"https://sync.fabrikam.example/n?subscription=1","expirationDateTime":"2026-03-03T00:00:00Z"}],"@odata.nextLink":"{host}/v1.0/subscriptions?page=2"}`)(w, r)
			return
		}
		c.value(`{"id":"sub-2"}`)(w, r)
	})
	got, err := c.reader().Subscriptions(t.Context(), testRef)
	if err != nil || len(got) != 2 || got[0].ID != "sub-1" || got[0].NotificationURL != asked.NotificationURL || got[0].Expires.IsZero() || got[1].ID != "sub-2" {
		t.Errorf("got %+v, %v", got, err)
	}
	c.on("GET /v1.0/subscriptions", c.says(403, `{"error":{"code":"X","message":"Insufficient privileges."}}`))
	_, err = c.reader().Subscriptions(t.Context(), testRef)
	if refused, ok := errors.AsType[*SubscriptionError](err); !ok || refused.Reason != SubscriptionForbidden {
		t.Errorf("error %v", err)
	}
}
