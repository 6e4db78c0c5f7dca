package m365

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const mailHeader = "User Principal Name,Storage Used (Byte),Is Deleted\n"

func TestReportsConcealed(t *testing.T) {
	t.Run("by the setting", func(t *testing.T) {
		c := newCloud(t)
		c.on("GET /v1.0/admin/reportSettings", c.says(200, `{"displayConcealedNames":true}`))
		s := c.read()
		if s.MailboxUsage.Reason != string(concealed) || s.OneDriveUsage.Reason != string(concealed) {
			t.Errorf("got %+v and %+v", s.MailboxUsage, s.OneDriveUsage)
		}
		if n := c.count(routeMailUse) + c.count(routeDriveUse); n != 0 {
			t.Errorf("%d reports were asked for in vain", n)
		}
	})
	t.Run("by their content", func(t *testing.T) {
		c := newCloud(t)
		c.on("GET /v1.0/admin/reportSettings", c.says(403, ""))
		c.on("GET /download/mail.csv", c.says(200, mailHeader+"8F2C01AB55,10,False\n8F2C01AB56,10,False\n"))
		s := c.read()
		if s.MailboxUsage.Reason != string(concealed) {
			t.Errorf("got %+v", s.MailboxUsage)
		}
		if !s.OneDriveUsage.OK() {
			t.Errorf("the other report: %+v", s.OneDriveUsage)
		}
	})
}

func TestNamed(t *testing.T) {
	users := map[string]bool{"ada@tailspin.example": true}
	tests := []struct {
		name  string
		rows  []string
		users map[string]bool
		n     int // -1 = concealed
	}{
		{"one joins", []string{"x", "Ada@tailspin.example"}, users, 2},
		{"none joins", []string{"x", "y@z.example"}, users, -1},
		{"no rows", []string{}, users, 0},
		{"users not known, names look right", []string{"ben@tailspin.example"}, nil, 1},
		{"users not known, names look hashed", []string{"8F2C"}, nil, -1},
		{"a tenant without users", []string{"8F2C"}, map[string]bool{}, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := named(test.rows, strings.Clone, test.users)
			if errors.Is(err, concealed) != (test.n < 0) || err == nil && (len(got) != test.n || got == nil) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestReportDownloads(t *testing.T) {
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("another host got Authorization or Referer")
		}
		_, _ = w.Write([]byte(mailHeader + "ada@tailspin.example,1,False\n"))
	}))
	defer foreign.Close()
	cutOnce := func(c *cloud) http.HandlerFunc {
		first := true
		return func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				c.says(200, mailHeader+"ada@tailspin.example,1,False\nben@tai")(w, r)
				return
			}
			c.says(200, mailHeader+"ada@tailspin.example,1,False\nben@tailspin.example,2,False\n")(w, r)
		}
	}
	tests := []struct {
		name  string
		setup func(*cloud)
		n     int
		as    any
	}{
		{"on another host", func(c *cloud) { c.on(routeMailUse, c.redirect(foreign.URL+"/f")) }, 1, nil},
		{"redirected again", func(c *cloud) { c.on("GET /download/mail.csv", c.redirect(foreign.URL+"/f")) }, 1, nil},
		{"without redirect", func(c *cloud) { c.on(routeMailUse, c.says(200, mailHeader)) }, 0, nil},
		{"cut once", func(c *cloud) { c.on("GET /download/mail.csv", cutOnce(c)) }, 2, nil},
		{"cut for good", func(c *cloud) { c.on("GET /download/mail.csv", c.says(200, mailHeader+"ada@tai")) }, 0, new(*bodyError)},
		{"HTML", func(c *cloud) { c.on("GET /download/mail.csv", c.says(200, "<html>")) }, 0, new(*bodyError)},
		{"empty", func(c *cloud) { c.on("GET /download/mail.csv", c.says(200, "")) }, 0, new(*bodyError)},
		{"link has expired", func(c *cloud) { c.on("GET /download/mail.csv", c.says(404, "")) }, 0, new(*statusError)},
		{"no address", func(c *cloud) { c.on(routeMailUse, c.says(302, "")) }, 0, new(*bodyError)},
		{"plain http", func(c *cloud) { c.on(routeMailUse, c.redirect("http://reports.example/f?secret=1")) }, 0, new(*linkError)},
		{"plain http later", func(c *cloud) { c.on("GET /download/mail.csv", c.redirect("http://reports.example/f")) }, 0, new(*linkError)},
		{"for ever", func(c *cloud) { c.on("GET /download/mail.csv", c.redirect("{host}/download/mail.csv")) }, 0, new(*transportError)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t)
			test.setup(c)
			rows, err := c.graph().mailboxUsage(t.Context())
			if test.as == nil && (err != nil || len(rows) != test.n) {
				t.Errorf("%d rows, %v", len(rows), err)
			}
			if test.as != nil && !errors.As(err, test.as) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error gives the address away: %v", err)
			}
		})
	}
}
