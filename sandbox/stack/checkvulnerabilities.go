package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/seed"
)

// OpenCVEs are the CVEs that a tenant's scan group should hold, sorted, by NinjaOne
// device. Microsoft reports them of devices that NinjaOne has, and CIPP has no exception
// for them. Only devices that one name identifies beyond doubt are among them. There are
// none where neither Defender nor CIPP's cache can be read.
func (s *Stack) OpenCVEs(tenantID string) map[int][]string {
	t := s.M365.Tenant(tenantID)
	records := s.Seed.CachedCVEs[t.DefaultDomain]
	t.View(func(t *m365sim.Tenant) {
		if !t.NoDefender && slices.Contains(t.Permissions, "Vulnerability.Read") {
			records = t.Vulnerabilities
		}
	})
	devices := map[string][]ninjasim.Device{}
	for _, d := range s.NinjaOne.Devices(s.Seed.Organization(tenantID)) {
		devices[strings.ToLower(d.SystemName)] = append(devices[strings.ToLower(d.SystemName)], d)
	}
	open := map[int]map[string]bool{}
	for _, v := range records {
		host, _, _ := strings.Cut(strings.ToLower(v.DeviceName), ".")
		if v.CVE == "" || s.excepted(v.CVE, t.DefaultDomain) || len(devices[host]) != 1 {
			continue
		}
		id := devices[host][0].ID
		if open[id] == nil {
			open[id] = map[string]bool{}
		}
		open[id][v.CVE] = true
	}
	sorted := map[int][]string{}
	for id, cves := range open {
		sorted[id] = slices.Sorted(maps.Keys(cves))
	}
	return sorted
}

func (s *Stack) excepted(cve, domain string) bool {
	return slices.ContainsFunc(s.Seed.CVEExceptions, func(e seed.CVEException) bool {
		return strings.EqualFold(e.CVE, cve) && (e.Tenant == "ALL" || strings.EqualFold(e.Tenant, domain)) &&
			(e.Expiry == "" || e.Expiry >= s.Seed.Day.Format("2006-01-02"))
	})
}

// ScanGroupOf returns a tenant's scan group; 0 where none was made.
func (s *Stack) ScanGroupOf(tenantID string) int64 {
	name := seed.ScanGroupName(s.M365.Tenant(tenantID).DefaultDomain)
	for _, g := range s.NinjaOne.ScanGroups() {
		if strings.EqualFold(g.Name, name) {
			return g.ID
		}
	}
	return 0
}

// checkVulnerabilities compares what a tenant's scan group holds with what
// Microsoft reports.
func (s *Stack) checkVulnerabilities(id string) []string {
	group := s.ScanGroupOf(id)
	want := s.OpenCVEs(id)
	if !s.Seed.Quirks.CVESync || group == 0 {
		return nil
	}
	var wrong []string
	if unmatched := s.NinjaOne.UnmatchedRows(group); len(unmatched) > 0 {
		wrong = append(wrong, fmt.Sprintf("scan group %d got rows of %d devices that NinjaOne does not have, the first is %q", group, len(unmatched), unmatched[0]))
	}
	for device, cves := range want {
		if got := s.NinjaOne.OpenCVEs(group)[device]; !slices.Equal(got, cves) {
			wrong = append(wrong, fmt.Sprintf("scan group %d shows %q on device %d, want %q", group, got, device, cves))
		}
	}
	if len(want) == 0 && len(s.NinjaOne.Uploads(group)) > 0 {
		wrong = append(wrong, fmt.Sprintf("scan group %d got a file, and nothing is known of the tenant", group))
	}
	return wrong
}
