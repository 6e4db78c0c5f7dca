package m365

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/tenant"
)

// endless serves pages that always lead to another one; rows gives the nth page.
func (c *cloud) endless(link func(n int) string, rows func(n int) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
		next := `,"@odata.nextLink":"{host}` + r.URL.Path + "?$skiptoken=" + link(n) + `"`
		c.says(200, `{"value":[`+rows(n)+`]`+next+`}`)(w, r)
	}
}

func another(n int) string { return strconv.Itoa(n + 1) }

// TestListsThatNeverEnd has one list of the tenant never end: it is given up
// soon, absent with its reason, and the rest is read.
func TestListsThatNeverEnd(t *testing.T) {
	tight := bounds.Limits{Pages: 40, Items: 90, Bytes: 1 << 20, Idle: 20}
	same := func(row string) func(int) string { return func(int) string { return row } }
	fresh := func(format string) func(int) string {
		return func(n int) string { return fmt.Sprintf(format, n) }
	}
	for _, tt := range []struct {
		name, route string
		link        func(int) string
		rows        func(int) string
		reason      func(*tenant.Snapshot) string
		says        string
		calls       int // of one form
		forms       int // that were tried
	}{
		{"users behind their own link", routeUsers, same("1"), fresh(`{"id":"u%d"}`), func(s *tenant.Snapshot) string { return s.Users.Reason }, "go round in a circle", 2, 4},
		{"empty pages of users", routeUsers, another, same(""), func(s *tenant.Snapshot) string { return s.Users.Reason }, "20 pages in a row bring nothing new", 20, 4},
		{"the same users", routeUsers, another, same(`{"id":"u1"},{"id":"u2"}`), func(s *tenant.Snapshot) string { return s.Users.Reason }, "20 pages in a row", 21, 4},
		{"new users for ever", routeUsers, another, fresh(`{"id":"u%d"}`), func(s *tenant.Snapshot) string { return s.Users.Reason }, "after 40 pages", 40, 4},
		{"full pages of new users for ever", routeUsers, another, fresh(`{"id":"a%[1]d"},{"id":"b%[1]d"},{"id":"c%[1]d"},{"id":"d%[1]d"}`),
			func(s *tenant.Snapshot) string { return s.Users.Reason }, "after 92 records", 23, 4},
		{"heavy pages", routeUsers, another, fresh(`{"id":"u%d","displayName":"` + strings.Repeat("x", 300<<10) + `"}`),
			func(s *tenant.Snapshot) string { return s.Users.Reason }, "after 1 MiB", 4, 4},
		{"Entra devices", routeDevices, another, same(`{"id":"o1"}`), func(s *tenant.Snapshot) string { return s.EntraDevices.Reason }, "20 pages", 21, 2},
		{"Conditional Access, out of the batch", "GET /v1.0/identity/conditionalAccess/policies", another, same(`{"id":"f1"}`),
			func(s *tenant.Snapshot) string { return s.ConditionalAccess.Reason }, "20 pages", 21, 1},
		{"domains", "GET /v1.0/domains", another, fresh(`{"id":"d%d.example"}`), func(s *tenant.Snapshot) string { return s.Domains.Reason }, "40 pages", 40, 1},
		{"Exchange", routeExchange, another, same(`{"ExternalDirectoryObjectId":"` + userAda + `","SenderAddress":"a@b.example","UnifiedAuditLogIngestionEnabled":true}`),
			func(s *tenant.Snapshot) string { return s.Mailboxes.Reason }, "Exchange Online gave a list that never ends (20 pages", 21, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			c.on(tt.route, c.endless(tt.link, tt.rows))
			r := c.reader()
			r.graph.list, r.exchange.list = tight, tight
			s, err := r.Read(t.Context(), testRef, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.reason(s); !strings.HasPrefix(got, "Not available: ") || !strings.Contains(got, tt.says) || !strings.HasSuffix(got, nextSync) {
				t.Errorf("reason %q, want %q in it", got, tt.says)
			}
			if n := c.count(tt.route); n != tt.calls*tt.forms && tt.route != routeExchange { // some of whose cmdlets have one row
				t.Errorf("%d calls, want %d of each of %d forms", n, tt.calls, tt.forms)
			}
			if !s.Organization.OK() || !s.Groups.OK() || !s.ManagedDevices.OK() || tt.route == routeExchange && !s.Users.OK() {
				t.Error("a neighbour was lost")
			}
		})
	}
}

// TestDeltaListThatNeverEnds has a group repeat its members, then bring new ones
// on every page: the plain list takes its place.
func TestDeltaListThatNeverEnds(t *testing.T) {
	for name, member := range map[string]func(n int) string{
		"the same members": func(int) string { return userAda },
		"new members":      func(n int) string { return fmt.Sprintf("m%d", n) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.on(routeGroups, c.endless(another, func(n int) string {
				return `{"id":"g1","displayName":"Staff","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"` + member(n) + `"}]}`
			}))
			c.on("GET /v1.0/groups", c.value(`{"id":"g1","displayName":"Staff"}`))
			c.on("GET /v1.0/groups/g1/members", c.value(`{"@odata.type":"#microsoft.graph.user","id":"`+userBen+`"}`))
			r := c.reader()
			r.graph.list = bounds.Limits{Pages: 50, Items: 1000, Bytes: 1 << 20, Idle: 20}
			s, err := r.Read(t.Context(), testRef, nil)
			if err != nil || !s.Groups.OK() || len(s.Groups.Value) != 1 || len(s.Groups.Value[0].Members) != 1 || s.Groups.Value[0].Members[0].ID != userBen {
				t.Fatalf("%v, %+v", err, s.Groups)
			}
			want := 50
			if name == "the same members" {
				want = 21
			}
			read := c.count(routeGroups)
			if read != want {
				t.Errorf("%d calls, want %d", read, want)
			}
			changes, err := r.Changes(t.Context(), testRef, nil)
			if err != nil || changes.Failed[DeltaGroups] == nil {
				t.Errorf("%v, %v", err, changes.Failed)
			}
			if n := c.count(routeGroups) - read; n != want {
				t.Errorf("%d calls of a look, want %d", n, want)
			}
		})
	}
}

// TestExpiredPages has a service forget the page that it led to: the list is read
// from its start, and is whole.
func TestExpiredPages(t *testing.T) {
	const expired = `{"error":{"code":"Directory_ExpiredPageToken","message":"The specified page token value has expired and can no longer be included in your request."}}`
	for _, tt := range []struct {
		name, route string
		status      int
		rows        [2]string
		delta       bool
		get         func(*tenant.Snapshot) (n int, reason string)
	}{
		{"users", routeUsers, 400, [2]string{`{"id":"u1"},{"id":"u2"}`, `{"id":"u3"}`}, false,
			func(s *tenant.Snapshot) (int, string) { return len(s.Users.Value), s.Users.Reason }},
		{"a delta list", routeGroups, 410, [2]string{`{"id":"g1","members@delta":[{"id":"x"}]}`, `{"id":"g2"},{"id":"g3"}`}, true,
			func(s *tenant.Snapshot) (int, string) { return len(s.Groups.Value), s.Groups.Reason }},
		{"a list of the batch", "GET /v1.0/domains", 400, [2]string{`{"id":"a.example"}`, `{"id":"b.example"},{"id":"c.example"}`}, false,
			func(s *tenant.Snapshot) (int, string) { return len(s.Domains.Value), s.Domains.Reason }},
		{"roles, out of the batch", routeRoles, 410, [2]string{`{"id":"r1"}`, `{"id":"r2"},{"id":"r3"}`}, true,
			func(s *tenant.Snapshot) (int, string) { return len(s.Roles.Value), s.Roles.Reason }},
	} {
		for times := range 4 {
			t.Run(fmt.Sprintf("%s, %d times", tt.name, times), func(t *testing.T) {
				c := newCloud(t)
				left := times
				c.on(tt.route, func(w http.ResponseWriter, r *http.Request) {
					switch {
					case r.URL.Query().Get("$skiptoken") == "":
						c.says(200, `{"@odata.nextLink":"{host}`+r.URL.Path+`?$skiptoken=2","value":[`+tt.rows[0]+`]}`)(w, r)
					case left > 0:
						left--
						c.says(tt.status, expired)(w, r)
					case tt.delta:
						c.says(200, `{"@odata.deltaLink":"{host}/x","value":[`+tt.rows[1]+`]}`)(w, r)
					default:
						c.value(tt.rows[1])(w, r)
					}
				})
				n, reason := tt.get(c.read())
				if whole := times < maxBeginnings || tt.name == "users"; whole && n != 3 || !whole && reason == "" {
					t.Errorf("%d records, %q", n, reason)
				}
			})
		}
	}
	t.Run("Exchange", func(t *testing.T) {
		c := newCloud(t)
		left := 1
		c.on(routeExchange, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case !strings.Contains(string(body), `"Get-Mailbox"`):
				c.value(`{"UnifiedAuditLogIngestionEnabled":true}`)(w, r)
			case r.URL.Query().Get("$skiptoken") == "":
				c.says(200, `{"@odata.nextLink":"{host}`+r.URL.Path+`?$skiptoken=2","value":[{"ExternalDirectoryObjectId":"a"}]}`)(w, r)
			case left > 0:
				left--
				c.says(400, `{"error":{"code":"BadRequest"}}`)(w, r)
			default:
				c.value(`{"ExternalDirectoryObjectId":"a"},{"ExternalDirectoryObjectId":"b"}`)(w, r)
			}
		})
		if s := c.read(); len(s.Mailboxes.Value) != 2 {
			t.Errorf("got %+v", s.Mailboxes)
		}
	})
}

// TestListsThatCannotBeEmpty has a list come empty that no tenant lacks.
func TestListsThatCannotBeEmpty(t *testing.T) {
	for route, get := range map[string]func(*tenant.Snapshot) (string, bool){
		routeUsers:               func(s *tenant.Snapshot) (string, bool) { return s.Users.Reason, s.Users.Expected },
		"GET /v1.0/organization": func(s *tenant.Snapshot) (string, bool) { return s.Organization.Reason, s.Organization.Expected },
		"GET /v1.0/domains":      func(s *tenant.Snapshot) (string, bool) { return s.Domains.Reason, s.Domains.Expected },
	} {
		c := newCloud(t)
		c.on(route, c.value(""))
		reason, expected := get(c.read())
		if !strings.Contains(reason, "gave an empty list of") || expected {
			t.Errorf("%s: %q, expected %t", route, reason, expected)
		}
	}
}

// TestRecordsWithoutTheirIDs has lists give records without their id, on whatever
// page: the others are read, and that some were left out is told.
func TestRecordsWithoutTheirIDs(t *testing.T) {
	ada := `{"id":"` + userAda + `","displayName":"Ada"}`
	for _, odd := range []string{`{"id":null,"displayName":"Ben"}`, `{"displayName":"Ben"}`, `{"id":7}`, `{"id":{}}`, `null`, `"Ben"`, `[]`} {
		c := newCloud(t)
		c.on(routeUsers, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("$skiptoken") == "" {
				c.says(200, `{"@odata.nextLink":"{host}/v1.0/users?$skiptoken=2","value":[`+ada+`]}`)(w, r)
				return
			}
			c.value(`{"id":"`+userBen+`"},`+odd)(w, r)
		})
		c.on("GET /v1.0/subscribedSkus", c.value(`{"skuId":"`+skuMain+`","skuPartNumber":"SPE_E3"},`+strings.ReplaceAll(odd, `"id"`, `"skuId"`)))
		s := c.read()
		if !s.Users.OK() || len(s.Users.Value) != 2 || !s.SKUs.OK() || len(s.SKUs.Value) != 1 {
			t.Errorf("%s: %+v, %+v", odd, s.Users, s.SKUs)
		}
		for detail, want := range map[tenant.Detail]string{tenant.DetailSomeUsers: "1 users without their id", tenant.DetailSomeSKUs: "1 licences without their id"} {
			if why := s.Unknown[detail]; !strings.Contains(why.Reason, want) || why.Expected {
				t.Errorf("%s: %s: %+v", odd, detail, why)
			}
		}
	}
	if s := newCloud(t).read(); len(s.Unknown) > 0 {
		t.Errorf("a whole reading: %v", s.Unknown)
	}
}

// TestLicencesThatCannotBeRead has a user's list of licences be odd, or hold an odd
// entry: that is no user without licences.
func TestLicencesThatCannotBeRead(t *testing.T) {
	one := `{"skuId":"` + skuMain + `"}`
	for licences, tt := range map[string]struct {
		held  int
		known bool
	}{
		`,"assignedLicenses":[]`: {0, true}, `,"assignedLicenses":[` + one + `]`: {1, true},
		``: {0, true}, `,"assignedLicenses":null`: {}, `,"assignedLicenses":{}`: {}, `,"assignedLicenses":"none"`: {}, `,"assignedLicenses":0`: {},
		`,"assignedLicenses":[null]`: {}, `,"assignedLicenses":[{}]`: {}, `,"assignedLicenses":[{"skuId":7}]`: {}, `,"assignedLicenses":[{"skuId":" "}]`: {},
		`,"assignedLicenses":[` + one + `,5]`: {held: 1}, `,"assignedLicenses":["` + skuMain + `",` + one + `]`: {held: 1}, `,"assignedLicenses":[` + one + `,{"skuId":null}]`: {held: 1},
	} {
		c := newCloud(t)
		c.on(routeUsers, c.value(`{"id":"`+userAda+`"`+licences+`},{"id":"`+userBen+`","assignedLicenses":[]}`))
		s := c.read()
		if len(s.Users.Value) != 2 || s.Users.Value[1].LicensesUnknown {
			t.Fatalf("%s: %+v", licences, s.Users)
		}
		why, lost := s.Unknown[tenant.DetailLicenses]
		if ada := s.Users.Value[0]; ada.LicensesUnknown == tt.known || lost == tt.known || len(ada.Licenses) != tt.held {
			t.Errorf("%s: %+v, %+v", licences, ada, why)
		}
		if lost && (!strings.Contains(why.Reason, "1 users without a whole list of their licences") || why.Expected) {
			t.Errorf("%s: %+v", licences, why)
		}
	}
}

// TestUnitsThatCannotBeRead has the numbers of a licence be odd: they are not zero.
func TestUnitsThatCannotBeRead(t *testing.T) {
	for units, tt := range map[string]struct{ consumed, total bool }{
		`"consumedUnits":7,"prepaidUnits":{"enabled":25}`: {true, true},
		`"consumedUnits":7`:                                             {true, false},
		`"consumedUnits":7,"prepaidUnits":null`:                         {true, false},
		`"consumedUnits":7,"prepaidUnits":[]`:                           {true, false},
		`"consumedUnits":7,"prepaidUnits":{}`:                           {true, false},
		`"consumedUnits":7,"prepaidUnits":{"enabled":"25"}`:             {true, false},
		`"consumedUnits":7,"prepaidUnits":{"enabled":2,"suspended":[]}`: {true, false},
		`"consumedUnits":7,"prepaidUnits":{"enabled":2,"warning":null}`: {true, false},
		`"consumedUnits":"7","prepaidUnits":{"enabled":25}`:             {false, true},
		`"consumedUnits":null,"prepaidUnits":{"enabled":25}`:            {false, true},
		`"prepaidUnits":{"enabled":25}`:                                 {false, true},
	} {
		c := newCloud(t)
		c.on("GET /v1.0/subscribedSkus", c.value(`{"skuId":"`+skuMain+`",`+units+`}`))
		c.on(routeUsers, c.value(`{"id":"`+userAda+`","assignedLicenses":[]}`))
		sku := c.read().SKUs.Value[0]
		if sku.ConsumedUnknown == tt.consumed || sku.UnitsUnknown == tt.total || tt.total && sku.Usable() != 25 || tt.consumed && sku.Consumed != 7 {
			t.Errorf("%s: %+v", units, sku)
		}
	}
}

// TestRecordAloneOnItsPage has a page of a list hold nothing but a record without its id:
// it takes nothing with it. A list that holds no others is not an empty one.
func TestRecordAloneOnItsPage(t *testing.T) {
	odd := []string{`{"displayName":"Odd"}`, `{"id":7}`, `null`, `"Odd"`}
	pages := func(c *cloud, last string, rows ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
			link := last
			if n+1 < len(rows) {
				link = `"@odata.nextLink":"{host}` + r.URL.Path + `?$skiptoken=` + strconv.Itoa(n+1) + `"`
			}
			c.says(200, `{"value":[`+rows[n]+`],`+link+`}`)(w, r)
		}
	}
	for _, list := range []struct {
		route, last string
		get         func(*tenant.Snapshot) (n int, reason string)
	}{
		{routeUsers, `"x":1`, func(s *tenant.Snapshot) (int, string) { return len(s.Users.Value), s.Users.Reason }},
		{routeDevices, `"x":1`, func(s *tenant.Snapshot) (int, string) { return len(s.EntraDevices.Value), s.EntraDevices.Reason }},
		{"GET /v1.0/domains", `"x":1`, func(s *tenant.Snapshot) (int, string) { return len(s.Domains.Value), s.Domains.Reason }},
		{routeGroups, `"@odata.deltaLink":"{host}/d"`, func(s *tenant.Snapshot) (int, string) { return len(s.Groups.Value), s.Groups.Reason }},
	} {
		for _, record := range odd {
			for _, rows := range [][]string{{`{"id":"a"},{"id":"b"}`, record}, {record, `{"id":"a"},{"id":"b"}`}, {`{"id":"a"}`, record, `{"id":"b"}`}} {
				c := newCloud(t)
				c.on(list.route, pages(c, list.last, rows...))
				c.on("GET /v1.0/groups", c.says(403, ""))
				if n, reason := list.get(c.read()); n != 2 {
					t.Errorf("%s with %s: %d records, %q", list.route, rows, n, reason)
				}
			}
			c := newCloud(t)
			c.on(list.route, pages(c, list.last, record, record))
			c.on("GET /v1.0/groups", c.says(403, ""))
			if n, reason := list.get(c.read()); reason == "" {
				t.Errorf("%s with nothing but %s: %d records", list.route, record, n)
			}
		}
	}
}

// TestMemberWithoutItsID has a group's plain list of members hold nothing but a member
// without its id: the group stays, and so do the others.
func TestMemberWithoutItsID(t *testing.T) {
	c := newCloud(t)
	c.on(routeGroups, c.says(501, ""))
	c.on("GET /v1.0/groups", c.value(`{"id":"g1"},{"id":"g2"}`))
	c.on("GET /v1.0/groups/g1/members", c.value(`{"id":null}`))
	c.on("GET /v1.0/groups/g2/members", c.value(`{"@odata.type":"#microsoft.graph.user","id":"`+userBen+`"}`))
	if s := c.read(); len(s.Groups.Value) != 2 || len(s.Groups.Value[0].Members) != 0 || len(s.Groups.Value[1].Members) != 1 {
		t.Errorf("got %+v", s.Groups)
	}
}

// TestTimeOfReading has one list hang until the time of the reading is over: its
// part is absent, and what was read by then is there.
func TestTimeOfReading(t *testing.T) {
	c := newCloud(t)
	ctx := &deadline{Context: t.Context(), passed: make(chan struct{})}
	devicesRead := make(chan struct{}) // the second batch reads the policies of devices that were read
	c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
		if c.count(routeBatch) == 2 {
			close(devicesRead)
		}
		c.batch(w, r)
	})
	c.on(routeDevices, func(w http.ResponseWriter, r *http.Request) {
		<-devicesRead
		ctx.pass()
		<-r.Context().Done()
	})
	s, err := c.reader().Read(ctx, testRef, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.EntraDevices.Reason; got != "Not available: reading the tenant took longer than half of the sync's time"+nextSync || s.EntraDevices.Expected {
		t.Errorf("reason %q", got)
	}
	if !s.ManagedDevices.OK() {
		t.Errorf("a neighbour was lost: %q", s.ManagedDevices.Reason)
	}
}

// TestAnswersOfOthers has Graph answer with what was not asked for.
func TestAnswersOfOthers(t *testing.T) {
	c := newCloud(t)
	c.on("GET /v1.0/devices/o1", c.says(200, `{"id":"O1","deviceId":"DEV1"}`))
	c.on("GET /v1.0/devices/o2", c.says(200, `{"id":"o1","deviceId":"dev1"}`))
	if got, err := c.reader().EntraDeviceIDs(t.Context(), testRef, []string{"o1"}); err != nil || got[0] != "dev1" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := c.reader().EntraDeviceIDs(t.Context(), testRef, []string{"o1", "o2"}); err == nil {
		t.Errorf("another device passed for it: %v", got)
	}
	c.on(routeManagedV1, c.value(`{"id":"m1","azureADDeviceId":"DEV1","complianceState":"compliant"}`))
	if got, err := c.reader().ManagedDevicesOf(t.Context(), testRef, []string{"dev1"}); err != nil || len(got[0]) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	c.on(routeManagedV1, c.value(`{"id":"m9","azureADDeviceId":"dev9"},{"id":"m8","azureADDeviceId":"dev8"}`))
	if got, err := c.reader().ManagedDevicesOf(t.Context(), testRef, []string{"dev1"}); err == nil || !strings.Contains(err.Error(), "filter was not applied") {
		t.Errorf("an unfiltered list passed for none: %v, %v", got, err)
	}
	c.on(routeBatch, func(w http.ResponseWriter, r *http.Request) {
		body := json.RawMessage(`{"id":"o1","deviceId":"dev1"}`)
		_ = json.NewEncoder(w).Encode(map[string]any{"responses": []map[string]any{
			{"id": "1", "status": 404, "body": map[string]any{}}, {"id": "1", "status": 200, "body": body}, {"id": "77", "status": 200, "body": body}}})
	})
	if got, err := c.reader().EntraDeviceIDs(t.Context(), testRef, []string{"o1"}); err == nil {
		t.Errorf("one of two answers with one id was taken: %v", got)
	}
}
