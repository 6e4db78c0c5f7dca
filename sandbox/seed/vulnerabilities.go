package seed

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// CVEPrefix begins the names of the provider's scan groups, where vulnerabilities
// are synchronized ([Quirks.CVESync]).
const CVEPrefix = "CIPP "

// ScanGroupName returns the name of a tenant's scan group.
func ScanGroupName(domain string) string { return CVEPrefix + domain }

// CVEException is one row of CIPP's table of CVEs that are accepted.
type CVEException struct {
	CVE    string
	Tenant string // default domain, or ALL
	Expiry string // as CIPP's page posts it; "" = none
}

// weakness is an invented CVE of a program.
type weakness struct {
	cve, severity, vendor, software, version, fixed, update string
	score                                                   float64
}

var weaknesses = []weakness{
	{"CVE-2026-90001", "Critical", "microsoft", "windows_11", "10.0.22631.4460", "10.0.22631.4602", "5048685", 9.8},
	{"CVE-2026-90002", "Critical", "google", "chrome", "129.0.6668.58", "131.0.6778.139", "", 9.6},
	{"CVE-2026-90003", "High", "google", "chrome", "129.0.6668.58", "131.0.6778.139", "", 8.8},
	{"CVE-2026-90004", "High", "microsoft", "office", "16.0.17928.20156", "16.0.18227.20162", "", 7.8},
	{"CVE-2026-90005", "High", "adobe", "acrobat_reader_dc", "24.002.21005.0", "24.005.20320", "", 7.8},
	{"CVE-2026-90006", "High", "mozilla", "firefox", "128.0.3.0", "133.0", "", 8.1},
	{"CVE-2026-90007", "Medium", "microsoft", "edge_chromium-based", "129.0.2792.52", "131.0.2903.99", "", 6.5},
	{"CVE-2026-90008", "Medium", "7-zip", "7-zip", "23.01.0.0", "24.08", "", 5.9},
	{"CVE-2026-90009", "Medium", "notepad++", "notepad++", "8.6.2.0", "", "", 5.5},
	{"CVE-2026-90010", "Low", "videolan", "vlc_media_player", "3.0.20.0", "3.0.21", "", 3.3},
	{"CVE-2026-90011", "High", "microsoft", "teams", "24193.1805.3040.8975", "24295.605.3225.8804", "", 7.5},
	{"CVE-2026-90012", "Critical", "putty", "putty", "0.80.0.0", "0.81", "", 9.1},
}

// vulnerabilities gives some tenants what Defender knows of their devices. It adds the
// scan groups made for them in NinjaOne, and what CIPP keeps.
//
//   - Ordinary: by full names, with a server that only NinjaOne has and a computer that only Intune has.
//   - Large: Defender refuses, and CIPP's cache serves.
//   - Markup: a group whose column names need quotes.
//   - SharedFirst: no scan group was made.
//   - every other tenant: no licence for Defender.
func (s *Seed) vulnerabilities() {
	rng := rand.New(rand.NewPCG(2026, 18))
	for _, t := range s.Tenants {
		t.NoDefender = true
	}
	for _, domain := range []string{Ordinary, Markup, SharedFirst} {
		t := s.Tenant(domain)
		t.NoDefender = false
		t.Vulnerabilities = s.found(rng, t)
	}
	ordinary := s.Tenant(Ordinary)
	ordinary.Vulnerabilities = append(ordinary.Vulnerabilities, s.record(rng, weaknesses[0], "hl-srv-01."+Ordinary), s.record(rng, weaknesses[5], "hl-srv-01."+Ordinary))

	large := s.Tenant(Large)
	s.CachedCVEs = map[string][]m365sim.Vulnerability{Large: s.found(rng, large)}
	large.Deny("Vulnerability.Read", "Vulnerability.Read.All")

	for i, g := range []ninjasim.ScanGroup{
		{Name: ScanGroupName(Ordinary), DeviceHeader: "device", CVEHeader: "cve"},
		{Name: strings.ToUpper(ScanGroupName(Large)), DeviceHeader: "device", CVEHeader: "cve"}, // names are compared without case
		{Name: ScanGroupName(Markup), DeviceHeader: `Device "name"`, CVEHeader: "CVE, id"},
		{Name: ScanGroupName(Restricted), DeviceHeader: "device", CVEHeader: "cve"},
		{Name: "Weekly scan of the perimeter", DeviceHeader: "IP", CVEHeader: "CVE", Identifier: ninjasim.IPAddress},
	} {
		g.ID = int64(31 + i)
		s.ScanGroups = append(s.ScanGroups, g)
	}
	s.CVEExceptions = []CVEException{
		{"CVE-2026-90009", "ALL", ""},
		{"cve-2026-90010", Ordinary, day(s.Day.AddDate(0, 3, 0))},
		{"CVE-2026-90008", Ordinary, day(s.Day.AddDate(0, 0, -2))}, // has ended
		{"CVE-2026-90001", ordinary.ID, ""},                        // CIPP does not heed a tenant's id
	}
}

// Vulnerable gives a tenant Defender's records of its Windows computers, and a
// scan group with the id.
func (s *Seed) Vulnerable(domain string, group int64) {
	t := s.Tenant(domain)
	t.Vulnerabilities = s.found(rand.New(rand.NewPCG(18, uint64(group))), t)
	s.ScanGroups = append(s.ScanGroups, ninjasim.ScanGroup{ID: group, Name: ScanGroupName(domain), DeviceHeader: "device", CVEHeader: "cve"})
}

// found returns the records of a tenant's computers: one or more of each second one.
func (s *Seed) found(rng *rand.Rand, t *m365sim.Tenant) []m365sim.Vulnerability {
	var list []m365sim.Vulnerability
	for i, e := range t.ManagedDevices {
		if e.String("operatingSystem") != "Windows" {
			continue
		}
		name := strings.ToLower(e.String("deviceName"))
		if t.Organization["onPremisesSyncEnabled"] == true {
			name += "." + t.DefaultDomain
		}
		clean := s.record(rng, weaknesses[6], name) // a program without a known CVE
		clean.CVE, clean.Severity, clean.Update, clean.CVSS = "", "", "", 0
		list = append(list, clean)
		if i%2 == 1 {
			continue
		}
		for n := range 1 + rng.IntN(len(weaknesses)) {
			list = append(list, s.record(rng, weaknesses[(n*5+i)%len(weaknesses)], name))
		}
	}
	return list
}

func (s *Seed) record(rng *rand.Rand, w weakness, device string) m365sim.Vulnerability {
	v := m365sim.Vulnerability{
		DeviceID: fmt.Sprintf("%x", device), DeviceName: device, OSPlatform: "Windows11", OSVersion: "10.0.22631.4460",
		Vendor: w.vendor, Software: w.software, Version: w.version, CVE: w.cve, Severity: w.severity, CVSS: w.score,
		UpdateID: w.update, Exploitability: "NoExploit",
		FirstSeen: s.Day.AddDate(0, 0, -1-rng.IntN(60)), LastSeen: s.Day,
	}
	if w.fixed != "" {
		v.Update = strings.ReplaceAll(w.software, "_", " ") + " " + w.fixed
	}
	return v
}

// cachedRows are what CIPP's nightly job keeps of Defender's records. Each CVE of a
// tenant is one item, with its devices in a text that holds JSON.
func (s *Seed) cachedRows() []row {
	var rows []row
	for _, t := range s.Tenants {
		byCVE := map[string][]m365sim.Vulnerability{}
		var order []string
		for _, v := range s.CachedCVEs[t.DefaultDomain] {
			if v.CVE == "" {
				continue
			}
			if byCVE[v.CVE] == nil {
				order = append(order, v.CVE)
			}
			byCVE[v.CVE] = append(byCVE[v.CVE], v)
		}
		for _, cve := range order {
			rows = append(rows, s.cachedRow(t.DefaultDomain, byCVE[cve]))
		}
		if len(order) > 0 {
			rows = append(rows, row{"PartitionKey": t.DefaultDomain, "RowKey": "DefenderCVEs-Count", "Type": "DefenderCVEs", "DataCount": len(order)})
		}
	}
	return rows
}

func (s *Seed) cachedRow(domain string, records []m365sim.Vulnerability) row {
	var devices []any
	for _, v := range records {
		devices = append(devices, map[string]any{"deviceId": v.DeviceID, "deviceName": v.DeviceName, "osVersion": v.OSVersion,
			"softwareVersion": v.Version, "diskPaths": "", "registryPaths": ""})
	}
	details := any(devices)
	if len(devices) == 1 { // as CIPP's language writes a list of one
		details = devices[0]
	}
	v := records[0]
	return row{"PartitionKey": domain, "RowKey": "DefenderCVEs-" + uuid.NewString(), "Type": "DefenderCVEs", "Data": mustJSON(map[string]any{
		"PartitionKey": v.CVE, "RowKey": domain, "customerId": domain, "cveId": v.CVE, "softwareVendor": v.Vendor, "softwareName": v.Software,
		"vulnerabilitySeverityLevel": v.Severity, "recommendedSecurityUpdate": v.Update, "recommendedSecurityUpdateUrl": nil,
		"exploitabilityLevel": v.Exploitability, "deviceCount": len(records), "deviceDetailsJson": mustJSON(details),
		"lastUpdated": cippTime(s.Day.Add(-21 * 3600e9)),
	})}
}

func (s *Seed) exceptionRows() []row {
	var rows []row
	for _, e := range s.CVEExceptions {
		rows = append(rows, row{"PartitionKey": e.CVE, "RowKey": e.Tenant, "cveId": e.CVE, "customerId": e.Tenant, "exceptionType": "RiskAccepted",
			"exceptionComment": "Accepted by the customer", "exceptionCreatedBy": "admin@northwindow-it.example",
			"exceptionCreatedDate": cippTime(s.Day.AddDate(0, -1, 0)), "exceptionReadableDate": day(s.Day.AddDate(0, -1, 0)),
			"exceptionExpiry": e.Expiry, "source": "CIPP"})
	}
	return rows
}
