package m365sim_test

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
)

const mailboxReport = "/reports/getMailboxUsageDetail(period='D7')"

func table(t *testing.T, a answer) (header []string, rows [][]string) {
	t.Helper()
	text, ok := strings.CutPrefix(string(a.body), "\ufeff")
	if !ok || a.status != http.StatusOK {
		t.Fatalf("answered %d without a byte order mark: %.80s", a.status, a.body)
	}
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1:]
}

func TestReportDownload(t *testing.T) {
	s := start(t, m365sim.Config{})
	location := s.get("/v1.0" + mailboxReport).header.Get("Location")
	if !strings.HasPrefix(location, s.Download) || s.Download == s.Graph {
		t.Fatalf("the download is at %q", location)
	}
	token := s.token(s.tenant, m365sim.GraphResource)
	if a := s.do(http.MethodGet, location, token, ""); a.status != http.StatusForbidden {
		t.Errorf("a download with a token: %d", a.status)
	}
	s.violated()
	header, rows := table(t, s.do(http.MethodGet, location, "", ""))
	upn, used := slices.Index(header, "User Principal Name"), slices.Index(header, "Storage Used (Byte)")
	if len(rows) != len(s.tenant.MailboxUsage) || rows[0][upn] != s.tenant.MailboxUsage[0].String("userPrincipalName") || rows[0][used] == "" {
		t.Errorf("%d rows, the first %v", len(rows), rows[0])
	}
	if !slices.Contains(header, "Recipient Type") {
		t.Errorf("no column that came later in %v", header)
	}
	s.do(http.MethodGet, location, "", "")
	if a := s.do(http.MethodGet, location, "", ""); a.status != http.StatusForbidden {
		t.Errorf("one download too many: %d", a.status)
	}
	location = s.get("/beta/reports/getOneDriveUsageAccountDetail(period='D30')").header.Get("Location")
	s.clock.move(6 * time.Minute)
	if a := s.do(http.MethodGet, location, "", ""); a.status != http.StatusForbidden {
		t.Errorf("a download that has expired: %d", a.status)
	}
	s.noViolations()
}

func TestReportConcealed(t *testing.T) {
	s := start(t, m365sim.Config{})
	if a := s.get("/v1.0/admin/reportSettings").json(t); a["displayConcealedNames"] != false {
		t.Errorf("settings: %v", a)
	}
	s.tenant.Change(func(t *m365sim.Tenant) { t.ReportsConcealed = true })
	if a := s.get("/v1.0/admin/reportSettings").json(t); a["displayConcealedNames"] != true {
		t.Errorf("settings: %v", a)
	}
	a := s.do(http.MethodGet, s.get("/v1.0"+mailboxReport).header.Get("Location"), "", "")
	if header, rows := table(t, a); len(rows) == 0 || len(rows[0][slices.Index(header, "User Principal Name")]) != 32 || strings.Contains(string(a.body), "@") {
		t.Errorf("names are not concealed: %v", rows[0])
	}
}

func TestReportJSON(t *testing.T) {
	s := start(t, m365sim.Config{PageSize: 10})
	rows, pages, _ := s.all("/beta" + mailboxReport + "?$format=application/json")
	if len(rows) != len(s.tenant.MailboxUsage) || pages < 2 || rows[0]["storageUsedInBytes"] == nil || rows[0]["reportPeriod"] != "7" {
		t.Errorf("%d rows on %d pages, the first %v", len(rows), pages, rows[0])
	}
	s.noViolations()
}
