package m365

import (
	"fmt"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// TestHeavyPages has lists bring, within their bounds, records as large as a
// record may be, to a run that keeps much already: each is given up, and asked
// for once.
func TestHeavyPages(t *testing.T) {
	long := strings.Repeat("x", 1200<<10)
	heavy := func(n int) string {
		return fmt.Sprintf(`{"id":"a%[1]d","displayName":"%[2]s","mail":"%[2]s","jobTitle":"%[2]s"},{"id":"b%[1]d","displayName":"%[2]s"}`, n, long)
	}
	for route, reason := range map[string]func(*tenant.Snapshot) string{
		routeUsers:               func(s *tenant.Snapshot) string { return s.Users.Reason },
		"GET /v1.0/domains":      func(s *tenant.Snapshot) string { return s.Domains.Reason }, // whose answer comes in a batch
		"GET /download/mail.csv": func(s *tenant.Snapshot) string { return s.MailboxUsage.Reason },
	} {
		t.Run(route, func(t *testing.T) {
			c := newCloud(t)
			switch {
			case route == routeUsers:
				c.on(route, c.endless(another, heavy))
			case strings.HasSuffix(route, ".csv"):
				c.on(route, c.says(200, "User Principal Name,Storage Used (Byte)\n"+strings.Repeat(long+",1\n", 20)))
			default:
				c.on(route, c.value(`{"id":"tailspin.example","a":"`+long+`","b":"`+long+`","c":"`+long+`"}`))
			}
			ctx, release := reply.Keeping(t.Context())
			defer release()
			for reply.Keep(ctx, 3<<20) == nil { // by other lists of the run
			}
			s, err := c.reader().Read(ctx, testRef, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := reason(s); got != "Not available: Microsoft Graph gave more than there is room for in memory"+nextSync || c.count(route) > 2 {
				t.Errorf("%q after %d calls", got, c.count(route))
			}
			if !s.Organization.OK() || !s.ManagedDevices.OK() {
				t.Error("a neighbour was lost")
			}
		})
	}
}
