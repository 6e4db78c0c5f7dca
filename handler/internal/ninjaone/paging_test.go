package ninjaone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/bounds"
)

type item struct {
	ID int `json:"id"`
}

// afterServer serves ids the way NinjaOne does: those beyond "after", but in
// no particular order within the page.
func afterServer(t *testing.T, ids []int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.Atoi(r.URL.Query().Get("pageSize"))
		if err != nil {
			t.Errorf("pageSize: %v", err)
		}
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		rest := slices.DeleteFunc(slices.Sorted(slices.Values(ids)), func(id int) bool { return id <= after })
		rest = rest[:min(size, len(rest))]
		slices.SortFunc(rest, func(a, b int) int { return a*7%11 - b*7%11 })
		list := []item{}
		for _, id := range rest {
			list = append(list, item{id})
		}
		body, err := json.Marshal(list)
		if err != nil {
			t.Error(err)
		}
		answer(w, 200, string(body))
	}
}

func TestListAfter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		total int
		calls int
	}{
		{"nothing", 0, 1},
		{"part of a page", 2, 1},
		{"exactly one page", 3, 2},
		{"a page and a part", 4, 2},
		{"exact multiple of the page size", 9, 4},
		{"many pages", 20, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ids []int
			for i := range tt.total {
				ids = append(ids, 5+i*i)
			}
			fake := newFake(t, afterServer(t, ids))
			got, err := collect(listAfter(t.Context(), serve(t, fake), "/v2/organizations", nil, 3, func(i item) int { return i.ID }))
			if err != nil {
				t.Fatal(err)
			}
			var seen []int
			for _, i := range got {
				seen = append(seen, i.ID)
			}
			slices.Sort(seen)
			if !slices.Equal(seen, ids) {
				t.Errorf("got %v, want %v", seen, ids)
			}
			if calls := len(fake.made()); calls != tt.calls {
				t.Errorf("%d calls, want %d: %v", calls, tt.calls, fake.made())
			}
		})
	}
}

// endlessPage is a page of a report that always names a next one; # in its
// members is n.
func endlessPage(members string, n int, next string) string {
	return fmt.Sprintf(`{"results":[%s],"cursor":{"name":%q}}`, strings.ReplaceAll(members, "#", strconv.Itoa(n)), next)
}

func TestListsThatNeverEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits bounds.Limits
		page   func(n int) string // the nth answer
		read   func(context.Context, *Client) error
		calls  int
	}{
		{"new devices for ever", bounds.Limits{Pages: 9, Items: 1e6, Bytes: 1 << 30, Idle: 20}, func(n int) string {
			return fmt.Sprintf(`[{"id":%d},{"id":%d}]`, 2*n+1, 2*n+2)
		}, readAfter, 9},
		{"full pages of devices", bounds.Limits{Pages: 100, Items: 50, Bytes: 1 << 30, Idle: 20}, func(n int) string {
			return fmt.Sprintf(`[{"id":%d},{"id":%d}]`, 2*n+1, 2*n+2)
		}, readAfter, 25},
		{"the same devices again", bounds.Limits{}, func(int) string { return `[{"id":2},{"id":1}]` }, readAfter, 2},
		{"a cursor that leads nowhere", bounds.Limits{}, func(int) string { return endlessPage(`{"deviceId":1}`, 0, "c") }, readReport, 2},
		{"a report that alternates", bounds.Limits{}, func(n int) string {
			return endlessPage(`{"deviceId":#}`, 1+n%2, fmt.Sprint("c", n))
		}, readReport, 22},
		{"new rows of a report for ever", bounds.Limits{Pages: 30, Items: 1e6, Bytes: 1 << 30, Idle: 20}, func(n int) string {
			return endlessPage(`{"deviceId":#}`, n+1, fmt.Sprint("c", n))
		}, readReport, 30},
		{"heavy rows of a report", bounds.Limits{Pages: 100, Items: 1e6, Bytes: 10_000, Idle: 20}, func(n int) string {
			return endlessPage(`{"deviceId":#,"more":"`+strings.Repeat("x", 2000)+`"}`, n+1, fmt.Sprint("c", n))
		}, readReport, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := -1
			fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				n++
				answer(w, 200, tt.page(n))
			})
			if tt.limits != (bounds.Limits{}) {
				usual := bounds.Default
				t.Cleanup(func() { bounds.Default = usual })
				bounds.Default = tt.limits
			}
			err := tt.read(t.Context(), serve(t, fake))
			if !errors.Is(err, bounds.ErrEndless) || !strings.Contains(err.Error(), "NinjaOne GET /v2/") {
				t.Errorf("got %v", err)
			}
			if calls := len(fake.made()); calls != tt.calls {
				t.Errorf("%d calls, want %d", calls, tt.calls)
			}
		})
	}
}

func readAfter(ctx context.Context, c *Client) error {
	_, err := collect(listAfter(ctx, c, "/v2/organizations", nil, 2, func(i item) int { return i.ID }))
	return err
}

func readReport(ctx context.Context, c *Client) error {
	_, err := collect(c.DeviceFieldValues(ctx, 42, nil, time.Time{}, nil))
	return err
}

func TestListAfterFailsAsAWhole(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("after") {
			answer(w, 403, `{}`)
			return
		}
		answer(w, 200, `[{"id":1},{"id":2}]`)
	})
	got, err := collect(listAfter(t.Context(), serve(t, fake), "/v2/organizations", nil, 2, func(i item) int { return i.ID }))
	if got != nil || !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v, %v; want nothing but the error", got, err)
	}
}

// TestRecordAloneOnItsPage has a page hold nothing but a record without its id: it takes
// nothing with it. A list that holds no others is not an empty one.
func TestRecordAloneOnItsPage(t *testing.T) {
	for _, odd := range []string{`{"id":"x","deviceId":"x","organizationId":3}`, `{"organizationId":3}`, `null`, `7`} {
		var pages []string
		fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			report, n := strings.Contains(r.URL.Path, "/queries/"), 0
			if name := r.URL.Query().Get("cursor") + r.URL.Query().Get("after"); name != "" {
				n = len(pages) - 1
			}
			switch {
			case report && n+1 < len(pages):
				answer(w, 200, `{"results":[`+pages[n]+`],"cursor":{"name":"c"}}`)
			case report:
				answer(w, 200, `{"results":[`+pages[n]+`]}`)
			default:
				answer(w, 200, `[`+pages[n]+`]`)
			}
		})
		c := serve(t, fake)
		byID := func(i item) int { return i.ID }
		after := func() (int, error) {
			all, err := collect(listAfter(t.Context(), c, "/v2/organizations", nil, 2, byID))
			return len(all), err
		}
		report := func() (n int, err error) {
			all, err := collect(c.DeviceFieldValues(t.Context(), 3, nil, time.Time{}, nil))
			for _, v := range all {
				if v.DeviceID > 0 {
					n++
				}
			}
			return n, err
		}
		for name, read := range map[string]func() (int, error){"after": after, "report": report} {
			pages = []string{`{"id":1,"deviceId":1},{"id":2,"deviceId":2}`, odd}
			if n, err := read(); n != 2 || err != nil {
				t.Errorf("%s with %s on the last page: %d records, %v", name, odd, n, err)
			}
			pages = []string{odd}
			if n, err := read(); err == nil {
				t.Errorf("%s with nothing but %s: %d records", name, odd, n)
			}
		}
		pages = []string{odd + "," + odd}
		if n, err := after(); !errors.Is(err, errNoIDs) {
			t.Errorf("a full page of %s: %d records, %v", odd, n, err)
		}
		pages = []string{odd, `{"deviceId":1},{"deviceId":2}`}
		if n, err := report(); n != 2 || err != nil {
			t.Errorf("a report with %s on the first page: %d records, %v", odd, n, err)
		}
	}
}

func TestListsStopWhenTheCallerDoes(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "devices") {
			answer(w, 200, `[{"id":1},{"id":2}]`)
			return
		}
		answer(w, 200, `{"results":[{"deviceId":1,"id":1},{"deviceId":2,"id":2}],"cursor":{"name":"c"}}`)
	})
	c := serve(t, fake)
	for range c.AllDevices(t.Context()) {
		break
	}
	for range c.DeviceFieldValues(t.Context(), 1, nil, time.Time{}, nil) {
		break
	}
	if got := len(fake.made()); got != 2 {
		t.Errorf("%d calls, want one for each list", got)
	}
}

func TestDevices(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/devices-detailed" || r.URL.RawQuery != "df=org%20%3D%2042&pageSize=1000" {
			t.Errorf("%s ? %s", r.URL.Path, r.URL.RawQuery)
		}
		answer(w, 200, `[
			{"id":7,"uid":"6f1c1b1e-0000-4000-8000-000000000007","organizationId":42,"locationId":3,"nodeClass":"WINDOWS_WORKSTATION",
			 "approvalStatus":"APPROVED","offline":true,"displayName":"Front desk","systemName":"DESK-7","dnsName":"desk-7.contoso.example","netbiosName":"DESK-7",
			 "created":1700000000.5,"lastContact":1700000000.25,"unknownMember":{"a":[1,2]},
			 "system":{"name":"DESK-7","manufacturer":"Fabrikam","model":"F1","biosSerialNumber":"B 7","serialNumber":"S7","virtualMachine":true,"chassisType":"LAPTOP","totalPhysicalMemory":17000000000},
			 "os":{"name":"Windows 11 Pro","buildNumber":"26100"},"lastLoggedInUser":"CONTOSO\\ana"},
			{"id":8,"organizationId":42,"system":{"name":"only-here"},"os":null,"lastContact":null},
			{"id":9,"organizationId":43,"approvalStatus":"APPROVED","systemName":"another customer's"},
			{"id":10,"approvalStatus":"APPROVED","systemName":"nobody's"},
			{"id":11,"organizationId":42,"approvalStatus":"PENDING"},{"id":12,"organizationId":42,"approvalStatus":"DECOMMISSIONED"}]`)
	})
	got, foreign, err := serve(t, fake).Devices(t.Context(), 42)
	if err != nil || foreign != 2 {
		t.Fatalf("%d devices of others, error %v", foreign, err)
	}
	want := []Device{{
		ID: 7, OrganizationID: 42, NodeClass: "WINDOWS_WORKSTATION", ApprovalStatus: "APPROVED",
		DisplayName: "Front desk", SystemName: "DESK-7", DNSName: "desk-7.contoso.example", NetBIOSName: "DESK-7",
		LastContact:  time.Date(2023, 11, 14, 22, 13, 20, 250_000_000, time.UTC),
		SerialNumber: "S7", BIOSSerialNumber: "B 7",
	}, {ID: 8, OrganizationID: 42, SystemName: "only-here"}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAllDevices(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "pageSize=1000" {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		answer(w, 200, `[{"id":7},{"id":8,"approvalStatus":"APPROVED"},{"id":9,"approvalStatus":"STAGED"}]`)
	})
	got, err := collect(serve(t, fake).AllDevices(t.Context()))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestOneOrganizationAndOneDevice(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/organization/42":
			answer(w, 200, `{"id":42,"name":"Contoso","description":"Ships","locations":[{"id":1}],"settings":{}}`)
		case "/v2/device/7":
			answer(w, 200, `{"id":7,"organizationId":42}`)
		case "/v2/organization/43", "/v2/device/9":
			answer(w, 200, `{"id":1}`)
		case "/v2/organization/45":
			answer(w, 200, `null`)
		default:
			answer(w, 404, `{"resultCode":"ENTITY_NOT_FOUND"}`)
		}
	})
	c := serve(t, fake)
	if o, err := c.Organization(t.Context(), 42); err != nil || o != (Organization{42, "Contoso", "Ships"}) {
		t.Errorf("organization: %+v, %v", o, err)
	}
	if d, err := c.Device(t.Context(), 7); err != nil || d != (Device{ID: 7, OrganizationID: 42}) {
		t.Errorf("device: %+v, %v", d, err)
	}
	for id, want := range map[int]error{43: errOtherThing, 44: ErrNotFound, 45: errOtherThing} {
		if o, err := c.Organization(t.Context(), id); !errors.Is(err, want) || o != (Organization{}) {
			t.Errorf("organization %d: %+v, %v; want %v", id, o, err, want)
		}
	}
	for id, want := range map[int]error{8: ErrNotFound, 9: errOtherThing} {
		if d, err := c.Device(t.Context(), id); !errors.Is(err, want) || d != (Device{}) {
			t.Errorf("device %d: %+v, %v; want %v", id, d, err, want)
		}
	}
}

func TestDeviceFieldValues(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		cursor := q.Get("cursor")
		q.Del("cursor")
		if want := "df=org+%3D+42&fields=summary%2Ccompliance&pageSize=1000&updatedAfter=1700000000"; r.URL.Path != "/v2/queries/custom-fields-detailed" || q.Encode() != want {
			t.Errorf("%s ? %s, want %s", r.URL.Path, q.Encode(), want)
		}
		switch cursor {
		case "":
			answer(w, 200, `{"cursor":{"name":"c one","offset":0,"count":2,"expires":1800000000.5},"results":[
				{"deviceId":1,"fields":[{"name":"compliance","value":"Compliant","updateTime":1700000001},{"name":"summary","value":{"html":"<p>x</p>","text":"x"}}]},
				{"entityType":"NODE","entityId":2,"fields":[{"name":"count","value":4},{"name":"gone","value":null},{"name":"many","value":["a"]}]}]}`)
		case "c one":
			answer(w, 200, `{"results":[{"deviceId":3}],"cursor":{"name":"c two"}}`)
		case "c two":
			answer(w, 200, `{"cursor":{"name":"c two"},"results":[]}`)
		}
	})
	after := time.Unix(1700000000, 0)
	got, err := collect(serve(t, fake).DeviceFieldValues(t.Context(), 42, []string{"summary", "compliance"}, after, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []DeviceFieldValues{
		{1, []FieldValue{{"compliance", "Compliant", "", after.Add(time.Second).UTC()}, {Name: "summary", Text: "x", HTML: "<p>x</p>"}}},
		{2, []FieldValue{{Name: "count", Text: "4"}, {Name: "gone"}, {Name: "many", Text: `["a"]`}}},
		{DeviceID: 3},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, call := range fake.made() {
		if strings.Contains(call, "showSecureValues") || strings.Contains(call, "+") {
			t.Errorf("call %s", call)
		}
	}
}

func TestReportWithoutResultsMember(t *testing.T) {
	simulate(t, func(t *testing.T) {
		fake := newFake(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, `{"cursor":{"name":"c"}}`) })
		if got, err := collect(inProcess(t, fake).DeviceFieldValues(t.Context(), 42, nil, time.Time{}, nil)); !errors.Is(err, ErrNotJSON) {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestCustomFields(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/device-custom-fields" || r.URL.Query().Get("scopes") != "all,node,location,organization" {
			t.Errorf("%s ? %s", r.URL.Path, r.URL.RawQuery)
		}
		answer(w, 200, `[
			{"name":"summary","label":"Summary","type":"WYSIWYG","apiPermission":"READ_WRITE","entityType":"NODE","definitionScope":["ORGANIZATION","LOCATION"],"active":true,"createTime":1.5},
			{"name":"compliance","type":"TEXT","apiPermission":"READ_ONLY","definitionScope":["NODE"]},
			{"name":"retired","type":"TEXT","definitionScope":["NODE"],"active":false},
			{"name":"seat","type":"TEXT","definitionScope":["LOCATION","END_USER"]},
			{"name":"old","type":"TEXT","scope":"NODE_GLOBAL"}]`)
	})
	got, err := serve(t, fake).CustomFields(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []CustomField{
		{"summary", "Summary", "WYSIWYG", "READ_WRITE", "NODE", []string{"ORGANIZATION", "LOCATION"}, true},
		{Name: "compliance", Type: "TEXT", APIPermission: "READ_ONLY", DefinitionScope: []string{"NODE"}, Active: true},
		{Name: "retired", Type: "TEXT", DefinitionScope: []string{"NODE"}},
		{Name: "old", Type: "TEXT", Active: true},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestListsAreDecodedAsTheyArrive(t *testing.T) {
	r, w := io.Pipe()
	var got []item
	done := make(chan error)
	go func() { done <- into(&got, decodeList[item])(json.NewDecoder(r)) }()
	for i := range 3 {
		if _, err := fmt.Fprintf(w, `%c{"id":%d}`, "[,,"[i], i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, "]"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || len(got) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}
