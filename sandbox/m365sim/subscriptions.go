package m365sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// The limits of subscriptions on directory objects.
const (
	// MaxSubscriptionLife is how far ahead a subscription may end.
	MaxSubscriptionLife = 41760 * time.Minute
	subscriptionQuota   = 100 // per application and tenant
	maxClientState      = 128 // characters
	handshakeTime       = 10 * time.Second
)

// Subscription is one subscription to change notifications.
type Subscription struct {
	ID, TenantID                  string
	Resource, ChangeType          string
	NotificationURL, LifecycleURL string
	ClientState                   string
	Expires                       time.Time
	Reauthorized                  int // how often it was authorized again
}

// subscriptions is what the service knows of all tenants' subscriptions.
type subscriptions struct {
	mu    sync.Mutex
	byID  map[string]*Subscription
	order []string
}

func init() {
	add := func(method, path string, serve func(*Server, *call, *query) *answer) {
		routes = append(routes, route{method: method, path: path, versions: both, rules: rules{options: ""}, perms: devicePerms, serve: serve})
	}
	add(http.MethodPost, "/subscriptions", serveSubscribe)
	add(http.MethodGet, "/subscriptions", serveSubscriptions)
	add(http.MethodGet, "/subscriptions/{id}", serveSubscription)
	add(http.MethodPatch, "/subscriptions/{id}", serveRenew)
	add(http.MethodDelete, "/subscriptions/{id}", serveUnsubscribe)
}

// Subscriptions returns the subscriptions of a tenant that have not ended, in
// the order in which they were made.
func (s *Server) Subscriptions(tenantID string) []Subscription {
	now := s.now()
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	var out []Subscription
	for _, id := range s.subscriptions.order {
		if sub := s.subscriptions.byID[id]; sub != nil && sub.TenantID == tenantID && now.Before(sub.Expires) {
			out = append(out, *sub)
		}
	}
	return out
}

// AddSubscription adds a subscription that somebody else made, past all rules.
func (s *Server) AddSubscription(sub Subscription) {
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	if s.subscriptions.byID == nil {
		s.subscriptions.byID = map[string]*Subscription{}
	}
	s.subscriptions.byID[sub.ID] = &sub
	s.subscriptions.order = append(s.subscriptions.order, sub.ID)
}

// LoseSubscription makes the service forget a subscription without a word.
func (s *Server) LoseSubscription(id string) {
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	delete(s.subscriptions.byID, id)
	s.subscriptions.order = slices.DeleteFunc(s.subscriptions.order, func(o string) bool { return o == id })
}

// ChangeCompliance sets Intune's state of a managed device, and what Entra says of it. It
// returns the directory object id by which a notification names the device.
func (s *Server) ChangeCompliance(tenantID, managedDeviceID, state string) (objectID string) {
	s.Tenant(tenantID).Change(func(t *Tenant) {
		managed := Find(t.ManagedDevices, managedDeviceID)
		managed["complianceState"] = state
		for _, d := range t.Devices {
			if id := managed.String("azureADDeviceId"); id != "" && strings.EqualFold(d.String("deviceId"), id) {
				d["isCompliant"] = state == "compliant"
				objectID = d.ID()
			}
		}
	})
	return objectID
}

// Notification is one item of a collection of change notifications.
type Notification map[string]any

// DeviceNotification is what the service says when a device was updated.
func DeviceNotification(sub Subscription, objectID string) Notification {
	return Notification{
		"subscriptionId": sub.ID, "clientState": sub.ClientState, "changeType": "updated",
		"subscriptionExpirationDateTime": sub.Expires.UTC().Format(time.RFC3339),
		"resource":                       "Devices/" + objectID, "tenantId": sub.TenantID,
		"resourceData": map[string]any{"@odata.type": "#Microsoft.Graph.Device", "@odata.id": "Devices/" + objectID,
			"id": objectID, "organizationId": sub.TenantID, "sequenceNumber": 0},
	}
}

// LifecycleNotification is what the service says of a subscription's own life:
// reauthorizationRequired, subscriptionRemoved or missed.
func LifecycleNotification(sub Subscription, event string) Notification {
	return Notification{
		"subscriptionId": sub.ID, "clientState": sub.ClientState, "lifecycleEvent": event, "tenantId": sub.TenantID,
		"subscriptionExpirationDateTime": sub.Expires.UTC().Format(time.RFC3339),
	}
}

// Deliver sends notifications in one POST, as the service does, and returns the
// status of the answer.
func (s *Server) Deliver(ctx context.Context, address string, items ...Notification) (int, error) {
	body, err := json.Marshal(map[string]any{"value": items})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := notifier.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// notifier delivers; it follows no redirect, as the service does not.
var notifier = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

type subscriptionBody struct {
	ChangeType               *string `json:"changeType"`
	NotificationURL          *string `json:"notificationUrl"`
	LifecycleNotificationURL *string `json:"lifecycleNotificationUrl"`
	Resource                 *string `json:"resource"`
	ClientState              *string `json:"clientState"`
	Expires                  *string `json:"expirationDateTime"`
	TLS                      *string `json:"latestSupportedTlsVersion"`
}

func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// limitSubscriptions applies the limits of the service: lists are throttled
// far harder than the rest.
func (s *Server) limitSubscriptions(c *call, list bool) *apiError {
	over := s.overLimit("subscriptions "+c.t.ID, 1000, 20*time.Second)
	if list {
		over = s.overLimit("list subscriptions "+c.t.ID, 40, 20*time.Second) || s.overLimit("list subscriptions", 80, 20*time.Second)
	}
	if !over {
		return nil
	}
	return &apiError{status: http.StatusTooManyRequests, code: "TooManyRequests", message: "Too many requests.",
		header: http.Header{"Retry-After": {"20"}}}
}

func serveSubscribe(s *Server, c *call, _ *query) *answer {
	if limited := s.limitSubscriptions(c, false); limited != nil {
		return s.errorAnswer(c.r, limited)
	}
	var in subscriptionBody
	if refusal := readJSON(c.r, &in); refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	expires, refusal := s.checkSubscription(in)
	if refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	sub := &Subscription{
		ID: uuid.NewString(), TenantID: c.t.ID, Resource: *in.Resource, ChangeType: *in.ChangeType,
		NotificationURL: *in.NotificationURL, LifecycleURL: value(in.LifecycleNotificationURL),
		ClientState: value(in.ClientState), Expires: expires,
	}
	if len(s.Subscriptions(c.t.ID)) >= subscriptionQuota {
		return s.errorAnswer(c.r, &apiError{status: http.StatusForbidden, code: "Forbidden",
			message: fmt.Sprintf("The subscription could not be created. The limit of %d subscriptions per application and tenant has been reached.", subscriptionQuota)})
	}
	for _, address := range []string{sub.NotificationURL, sub.LifecycleURL} {
		if address == "" {
			continue
		}
		if err := handshake(c.r.Context(), address); err != nil {
			return s.errorAnswer(c.r, &apiError{status: http.StatusBadRequest, code: "ValidationError",
				message: "Subscription validation request failed. " + err.Error()})
		}
	}
	s.subscriptions.mu.Lock()
	s.subscriptions.byID[sub.ID] = sub
	s.subscriptions.order = append(s.subscriptions.order, sub.ID)
	s.subscriptions.mu.Unlock()
	return jsonAnswer(http.StatusCreated, sub.answered(c, true))
}

// checkSubscription checks a new subscription against the documentation.
func (s *Server) checkSubscription(in subscriptionBody) (time.Time, *apiError) {
	for name, p := range map[string]*string{"changeType": in.ChangeType, "notificationUrl": in.NotificationURL,
		"resource": in.Resource, "expirationDateTime": in.Expires} {
		if value(p) == "" {
			return time.Time{}, badRequest("The property '%s' is required.", name)
		}
	}
	if !slices.Contains([]string{"devices", "/devices", "users", "/users", "groups", "/groups"}, *in.Resource) {
		return time.Time{}, badRequest("The resource '%s' is not supported.", *in.Resource)
	}
	for _, t := range strings.Split(*in.ChangeType, ",") {
		if t != "updated" && t != "deleted" {
			return time.Time{}, badRequest("The changeType '%s' is not supported for directory objects.", t)
		}
	}
	for _, address := range []string{*in.NotificationURL, value(in.LifecycleNotificationURL)} {
		if address != "" && !deliverable(address) {
			return time.Time{}, badRequest("The notification URL must be an absolute https address.")
		}
	}
	if utf8.RuneCountInString(value(in.ClientState)) > maxClientState {
		return time.Time{}, badRequest("The clientState is longer than %d characters.", maxClientState)
	}
	return s.checkExpires(*in.Expires)
}

func (s *Server) checkExpires(text string) (time.Time, *apiError) {
	expires, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		return time.Time{}, badRequest("The expirationDateTime is not a time in UTC.")
	}
	switch now := s.now(); {
	case !expires.After(now):
		return time.Time{}, badRequest("The expirationDateTime lies in the past.")
	case expires.Sub(now) > MaxSubscriptionLife:
		return time.Time{}, badRequest("Subscription expiration can only be %d minutes in the future.", MaxSubscriptionLife/time.Minute)
	}
	return expires, nil
}

// deliverable reports whether the simulator would send to an address. The real service
// takes https only. The simulator takes http too on loopback, where there are no
// certificates.
func deliverable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// handshake asks an address whether it wants notifications. The address must give the
// decoded token back as plain text, and nothing else.
func handshake(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	token := "Validation: Testing client application reachability for subscription + Request-Id: " + uuid.NewString() + " <&é>"
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("the address is malformed")
	}
	separator := "?"
	if u.RawQuery != "" {
		separator = "&"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address+separator+"validationToken="+url.QueryEscape(token), nil)
	if err != nil {
		return fmt.Errorf("the address is malformed")
	}
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := notifier.Do(r)
	if err != nil {
		return fmt.Errorf("the endpoint did not answer in time")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return fmt.Errorf("the endpoint's answer was cut")
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the endpoint answered %d in place of 200", resp.StatusCode)
	case media != "text/plain":
		return fmt.Errorf("the endpoint answered %q in place of text/plain", media)
	case string(body) != token:
		return fmt.Errorf("the endpoint did not give the validation token back")
	}
	return nil
}

// answered is the subscription as the service shows it. The client state comes
// back only to whoever has just sent it.
func (sub *Subscription) answered(c *call, created bool) map[string]any {
	body := map[string]any{
		"@odata.context": baseURL(c.r) + "/$metadata#subscriptions/$entity",
		"id":             sub.ID, "resource": sub.Resource, "changeType": sub.ChangeType, "clientState": nil,
		"notificationUrl": sub.NotificationURL, "lifecycleNotificationUrl": nil,
		"expirationDateTime": sub.Expires.UTC().Format(time.RFC3339), "applicationId": uuid.NewString(), "creatorId": uuid.NewString(),
		"latestSupportedTlsVersion": "v1_2", "encryptionCertificate": nil, "encryptionCertificateId": nil,
		"includeResourceData": nil, "notificationContentType": nil,
	}
	if sub.LifecycleURL != "" {
		body["lifecycleNotificationUrl"] = sub.LifecycleURL
	}
	if created && sub.ClientState != "" {
		body["clientState"] = sub.ClientState
	}
	return body
}

// withSubscription calls f with the caller's own subscription, locked.
func (s *Server) withSubscription(c *call, f func(sub *Subscription) *answer) *answer {
	if limited := s.limitSubscriptions(c, false); limited != nil {
		return s.errorAnswer(c.r, limited)
	}
	now := s.now()
	s.subscriptions.mu.Lock()
	sub := s.subscriptions.byID[c.params["id"]]
	if sub != nil && sub.TenantID == c.t.ID && now.Before(sub.Expires) {
		defer s.subscriptions.mu.Unlock()
		return f(sub)
	}
	s.subscriptions.mu.Unlock()
	return s.errorAnswer(c.r, &apiError{status: http.StatusNotFound, code: "ResourceNotFound", message: "The object was not found."})
}

func serveSubscription(s *Server, c *call, _ *query) *answer {
	return s.withSubscription(c, func(sub *Subscription) *answer { return jsonAnswer(http.StatusOK, sub.answered(c, false)) })
}

func serveSubscriptions(s *Server, c *call, _ *query) *answer {
	if limited := s.limitSubscriptions(c, true); limited != nil {
		return s.errorAnswer(c.r, limited)
	}
	list := []map[string]any{}
	for _, sub := range s.Subscriptions(c.t.ID) {
		list = append(list, sub.answered(c, false))
	}
	return jsonAnswer(http.StatusOK, map[string]any{"@odata.context": baseURL(c.r) + "/$metadata#subscriptions", "value": list})
}

func serveRenew(s *Server, c *call, _ *query) *answer {
	var in subscriptionBody
	if refusal := readJSON(c.r, &in); refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	if in.Expires == nil || in.ChangeType != nil || in.Resource != nil || in.ClientState != nil || in.LifecycleNotificationURL != nil || in.NotificationURL != nil {
		return s.errorAnswer(c.r, badRequest("Only the expirationDateTime can be changed."))
	}
	expires, refusal := s.checkExpires(*in.Expires)
	if refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	return s.withSubscription(c, func(sub *Subscription) *answer {
		sub.Expires = expires
		sub.Reauthorized++
		return jsonAnswer(http.StatusOK, sub.answered(c, false))
	})
}

func serveUnsubscribe(s *Server, c *call, _ *query) *answer {
	found := false
	a := s.withSubscription(c, func(*Subscription) *answer {
		found = true
		return &answer{status: http.StatusNoContent, header: http.Header{}}
	})
	if found {
		s.LoseSubscription(c.params["id"])
	}
	return a
}
