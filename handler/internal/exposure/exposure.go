// Package exposure holds what is shown of a tenant's open CVEs, on cards and on the
// console. It is pure data: package vulnerabilities keeps it when NinjaOne took a file.
package exposure

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/words"
)

// Severity is Defender's word for how bad a CVE is.
type Severity string

// The severities. Any other word of Defender's is Unrated.
const (
	Critical Severity = "Critical"
	High     Severity = "High"
	Medium   Severity = "Medium"
	Low      Severity = "Low"
	Unrated  Severity = "Unrated"
)

// Severities are all of them, the worst first.
var Severities = []Severity{Critical, High, Medium, Low, Unrated}

// SeverityOf returns the severity that a word of Defender's names, in any case.
func SeverityOf(word string) Severity {
	for _, s := range Severities {
		if strings.EqualFold(string(s), strings.TrimSpace(word)) {
			return s
		}
	}
	return Unrated
}

// Rank orders severities: 0 is the worst.
func (s Severity) Rank() int {
	if i := slices.Index(Severities, s); i >= 0 {
		return i
	}
	return len(Severities)
}

// Tenant is what the last file that NinjaOne took says. It holds the open CVEs, less the
// exceptions, of devices that NinjaOne has.
type Tenant struct {
	Day  time.Time `json:"day"`  // when the file was uploaded, UTC
	Open Counts    `json:"open"` // CVEs of the tenant, each counted once
	// Devices are those with open CVEs, the most exposed first (see Compare).
	Devices []Device `json:"devices"`
}

// Counts are numbers of CVEs by severity.
type Counts map[Severity]int

// Total is the number of all.
func (c Counts) Total() (n int) {
	for _, k := range c {
		n += k
	}
	return n
}

// Device is a NinjaOne device with open CVEs.
type Device struct {
	// NinjaOneID is the device in NinjaOne; 0 where several carry its name.
	NinjaOneID int    `json:"ninjaOneId"`
	Name       string `json:"name"` // as the file has it, or as NinjaOne shows it where the file has an address
	Open       Counts `json:"open"` // CVEs of the device, each counted once
	// Worst are the first Shown of its critical and high CVEs, the worst first,
	// then by id.
	Worst []CVE `json:"worst,omitempty"`
}

// Shown is how many CVEs of a device are kept with it.
const Shown = 10

// CVE is an open CVE of a device. Its texts are Defender's, not yet escaped.
type CVE struct {
	ID       string   `json:"id"` // for example CVE-2026-12345
	Severity Severity `json:"severity"`
	Software string   `json:"software,omitempty"` // vendor and name, as Defender has them
	Version  string   `json:"version,omitempty"`  // that is installed
	// Fixed is the version or update that mends it (recommendedSecurityUpdate);
	// "" when Defender names none.
	Fixed string `json:"fixed,omitempty"`
	// FixedURL is where it is described, an https address; "" for none.
	FixedURL string `json:"fixedUrl,omitempty"`
}

// Compare orders devices: more critical CVEs first, then more high ones, and so
// on, then by name and id.
func Compare(a, b Device) int {
	for _, s := range Severities {
		if c := cmp.Compare(b.Open[s], a.Open[s]); c != 0 {
			return c
		}
	}
	return cmp.Or(words.Compare(a.Name, b.Name), cmp.Compare(a.NinjaOneID, b.NinjaOneID))
}
