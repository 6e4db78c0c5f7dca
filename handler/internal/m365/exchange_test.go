package m365

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func (c *cloud) exchangeSession() *exchange {
	c.t.Helper()
	x := c.reader().newExchange(testRef)
	if err := x.open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	return x
}

func TestExchangePagesRepeatThePost(t *testing.T) {
	c := newCloud(t)
	var bodies []string
	c.on(routeExchange, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if r.URL.Query().Get("$skiptoken") == "" {
			c.says(200, `{"@adminapi.warnings":["slow"],"@odata.nextLink":"{host}/adminapi/beta/`+testTenant+`/InvokeCommand?$skiptoken=2","value":[{"UserPrincipalName":"a"}]}`)(w, r)
			return
		}
		c.value(`{"UserPrincipalName":"b"}`)(w, r)
	})
	got, err := c.exchangeSession().mailboxes(t.Context())
	if err != nil || len(got) != 2 || got[1].UserPrincipalName != "b" {
		t.Errorf("got %v, %v", got, err)
	}
	if len(bodies) != 2 || bodies[0] != bodies[1] || !strings.Contains(bodies[0], `"Get-Mailbox"`) {
		t.Errorf("bodies %q", bodies)
	}
}

func TestExchangeRefusals(t *testing.T) {
	t.Run("a field of $select", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeExchange, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("$select") {
				c.says(400, `{"error":{"code":"BadRequest","message":"no such property"}}`)(w, r)
				return
			}
			c.value(`{"ExternalDirectoryObjectId":"u"}`)(w, r)
		})
		if got, err := c.exchangeSession().casMailboxes(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("an error in Exchange's form", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeExchange, c.says(404, `{"error":{"code":"NotFound","message":"outer","details":[{"message":"for Ada Example"}],"innererror":{"internalexception":{"message":"inner"}}}}`))
		_, err := c.exchangeSession().unifiedAudit(t.Context())
		var status *statusError
		if !errors.As(err, &status) || status.code != "NotFound" || !strings.Contains(status.message, "inner") || strings.Contains(err.Error(), "Ada") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no word on auditing", func(t *testing.T) {
		c := newCloud(t)
		c.on(routeExchange, c.value(`{}`))
		if on, err := c.exchangeSession().unifiedAudit(t.Context()); err == nil {
			t.Errorf("got %v", on)
		}
	})
}
