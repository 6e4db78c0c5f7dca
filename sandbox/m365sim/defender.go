package m365sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Vulnerability is one record of Defender's export. It is a device, a version of a
// software on it, and one CVE of that version.
type Vulnerability struct {
	DeviceID   string // Defender's own id of the device
	DeviceName string // fully qualified where the device is in a domain
	OSPlatform string // for example Windows11
	OSVersion  string

	Vendor, Software, Version string

	CVE            string // "" = software without a known CVE, answered as null
	Severity       string // Low, Medium, High or Critical
	CVSS           float64
	Update         string // the update that mends it; "" = none known
	UpdateID       string // its KB number or the like
	Exploitability string // NoExploit, ExploitIsPublic, ExploitIsVerified or ExploitIsInKit
	FirstSeen      time.Time
	LastSeen       time.Time
}

const (
	vulnerabilitiesPath   = "/api/machines/SoftwareVulnerabilitiesByMachine"
	defenderPageSize      = 50_000
	defenderMaxPage       = 200_000
	defenderCallsAMinute  = 30
	defenderCallsAnHour   = 1000
	defenderTime          = "2006-01-02 15:04:05"
	defenderEntity        = "AssetVulnerability"
	delegatedPermission   = "Vulnerability.Read"
	applicationPermission = "Vulnerability.Read.All"
)

// vulnerabilityPage is what the $skiptoken of a next link stands for. The snapshot is as
// it was at the request for its first page.
type vulnerabilityPage struct {
	tenant string
	size   string // the pagesize of the link
	rows   []Vulnerability
}

// DefenderHandler serves Defender's export of vulnerabilities:
// GET /api/machines/SoftwareVulnerabilitiesByMachine.
func (s *Server) DefenderHandler() http.Handler {
	return s.door("defender", s.answerDefender)
}

func (s *Server) answerDefender(r *http.Request) *answer {
	t, refusal := s.authorize(r, DefenderResource)
	template := "(unknown)"
	if strings.EqualFold(r.URL.Path, vulnerabilitiesPath) {
		template = vulnerabilitiesPath
	}
	s.count(r, template)
	return s.trouble(r, "defender", t, func(r *http.Request) *answer {
		refuse := func(status int, code, message string) *answer {
			s.violate(r, message)
			return defenderError(status, code, message)
		}
		switch {
		case refusal != nil:
			if refusal.violation != "" {
				s.violate(r, refusal.violation)
			}
			return defenderError(refusal.status, "Unauthorized", refusal.message)
		case template == "(unknown)":
			return refuse(http.StatusNotFound, "NotFound", "There is no such resource.")
		case r.Method != http.MethodGet:
			return refuse(http.StatusMethodNotAllowed, "BadRequest", "Only GET is allowed.")
		case r.ContentLength > 0:
			return refuse(http.StatusBadRequest, "BadRequest", "This call takes no body.")
		case s.overLimit("defender minute "+t.ID, defenderCallsAMinute, time.Minute), s.overLimit("defender hour "+t.ID, defenderCallsAnHour, time.Hour):
			a := defenderError(http.StatusTooManyRequests, "TooManyRequests", "The quota of calls is used up.")
			a.header.Set("Retry-After", "60")
			return a
		}
		needed := delegatedPermission
		if s.grantOf(r) == "client_credentials" {
			needed = applicationPermission
		}
		var granted, licensed bool
		t.View(func(t *Tenant) { granted, licensed = t.granted([]string{needed}), !t.NoDefender })
		switch {
		case !granted:
			return defenderError(http.StatusForbidden, "Forbidden", "Missing application roles. API required roles: "+needed+".")
		case !licensed:
			return defenderError(http.StatusForbidden, "DisabledFeature", "The feature is not enabled for the tenant.")
		}
		page, message := s.vulnerabilities(r, t)
		if message != "" {
			return refuse(http.StatusBadRequest, "BadRequest", message)
		}
		return s.answerVulnerabilities(r, page)
	})
}

// grantOf returns by which grant the token of a call was issued.
func (s *Server) grantOf(r *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; token != nil {
		return token.grant
	}
	return ""
}

// vulnerabilities returns what is left of the export from the page that the call asks
// for. Or it returns why the call is not good.
func (s *Server) vulnerabilities(r *http.Request, t *Tenant) (page vulnerabilityPage, refusal string) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return page, "The query string is malformed."
	}
	query := map[string]string{} // names of options are the same in any case here, as the service's own link shows
	for name, v := range values {
		name = strings.ToLower(name)
		if _, twice := query[name]; twice || len(v) != 1 {
			return page, "The query parameter '" + name + "' is repeated."
		}
		if name != "pagesize" && name != "$top" && name != "$skiptoken" {
			return page, "The query parameter '" + name + "' is not supported."
		}
		query[name] = v[0]
	}
	for _, name := range []string{"pagesize", "$top"} {
		if v, ok := query[name]; ok {
			if n, err := strconv.Atoi(v); err != nil || n < 1 || n > defenderMaxPage {
				return page, "The query parameter '" + name + "' must be between 1 and 200000."
			}
		}
	}
	if token, ok := query["$skiptoken"]; ok {
		p := s.vulnerabilityChains.find(token)
		if p == nil || p.tenant != t.ID || p.size != query["pagesize"] {
			return page, "The next link must be followed as it was given, by the tenant that got it."
		}
		return *p, ""
	}
	page = vulnerabilityPage{tenant: t.ID, size: query["pagesize"]}
	t.View(func(t *Tenant) { page.rows = t.Vulnerabilities })
	if v, ok := query["$top"]; ok { // which gives no next link, so never the whole
		n, _ := strconv.Atoi(v)
		page.rows, page.size = page.rows[:min(n, len(page.rows))], v
	}
	return page, ""
}

func (s *Server) answerVulnerabilities(r *http.Request, p vulnerabilityPage) *answer {
	size := defenderPageSize
	if p.size != "" {
		size, _ = strconv.Atoi(p.size)
	}
	if s.config.PageSize > 0 {
		size = min(size, s.config.PageSize)
	}
	rows := p.rows[:min(size, len(p.rows))]
	value := make([]json.RawMessage, 0, len(rows))
	for i := range rows {
		value = append(value, rows[i].encode())
	}
	body := map[string]any{
		"@odata.context": "http://" + r.Host + "/api/$metadata#Collection(microsoft.windowsDefenderATP.api." + defenderEntity + ")",
		"value":          value,
	}
	if len(p.rows) > size {
		p.rows = p.rows[size:]
		if p.size == "" {
			p.size = strconv.Itoa(size)
		}
		token := s.vulnerabilityChains.give(p)
		body["@odata.nextLink"] = "http://" + r.Host + vulnerabilitiesPath + "?pagesize=" + p.size + "&$skiptoken=" + token
	}
	return jsonAnswer(http.StatusOK, body)
}

// encode renders a record with the names of the service. What is optional is
// null where there is none.
func (v *Vulnerability) encode() json.RawMessage {
	optional := func(text string) any {
		if text == "" {
			return nil
		}
		return text
	}
	b, err := json.Marshal(map[string]any{
		"id":       v.DeviceID + "_" + v.Vendor + "_" + v.Software + "_" + v.Version + "_" + v.CVE,
		"deviceId": v.DeviceID, "deviceName": v.DeviceName, "rbacGroupName": "Unassigned", "osPlatform": v.OSPlatform,
		"osVersion": v.OSVersion, "osArchitecture": "x64", "softwareVendor": v.Vendor, "softwareName": v.Software,
		"softwareVersion": v.Version, "cveId": optional(v.CVE), "vulnerabilitySeverityLevel": optional(v.Severity), "cvssScore": v.CVSS,
		"recommendedSecurityUpdate": optional(v.Update), "recommendedSecurityUpdateId": optional(v.UpdateID),
		"recommendedSecurityUpdateUrl": nil, "diskPaths": []string{}, "registryPaths": []string{},
		"firstSeenTimestamp": v.FirstSeen.UTC().Format(defenderTime), "lastSeenTimestamp": v.LastSeen.UTC().Format(defenderTime),
		"exploitabilityLevel": v.Exploitability, "recommendationReference": "va-_-" + v.Vendor + "-_-" + v.Software,
		"securityUpdateAvailable": v.Update != "",
	})
	if err != nil {
		panic(err) // texts, numbers and booleans
	}
	return b
}

// defenderError answers with the error object of Defender's API.
func defenderError(status int, code, message string) *answer {
	return jsonAnswer(status, map[string]any{"error": map[string]string{"code": code, "message": message, "target": uuid.NewString()}})
}
