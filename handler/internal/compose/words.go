package compose

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cipp-ninjaone/handler/internal/tenant"
)

// ComplianceText returns the value of DeviceCompliance for Intune's
// managedDevice.complianceState. It is "Compliant" or "Non-Compliant", or "" to clear the
// field, because the state says neither.
func ComplianceText(state string) string {
	switch tenant.Judge(state) {
	case tenant.Complies:
		return "Compliant"
	case tenant.Violates:
		return "Non-Compliant"
	}
	return ""
}

// IsCompliance reports whether a text is one that ComplianceText gives, whoever
// wrote it.
func IsCompliance(text string) bool {
	return text == ComplianceText(tenant.StateCompliant) || text == ComplianceText(tenant.StateNoncompliant)
}

// compliance is a compliance state as it is shown.
func compliance(state string, grace time.Time) line {
	switch state {
	case tenant.StateCompliant:
		return line{Icon: iconGood, Tone: good, Text: "Compliant"}
	case tenant.StateNoncompliant:
		return line{Icon: iconBad, Tone: bad, Text: "Non-Compliant"}
	case tenant.StateConflict:
		return line{Icon: iconBad, Tone: bad, Text: "Non-Compliant: policies conflict"}
	case tenant.StateError:
		return line{Icon: iconBad, Tone: bad, Text: "Non-Compliant: evaluation failed"}
	case tenant.StateInGracePeriod:
		s := "Non-Compliant: in grace period"
		if day := date(grace); day != "" {
			s += " until " + day
		}
		return line{Icon: iconWarning, Tone: warning, Text: s}
	case tenant.StateConfigManager:
		return line{Icon: iconUnknown, Text: "Left to Configuration Manager"}
	case tenant.StateUnknown, "":
		return line{Icon: iconUnknown, Text: "Not evaluated"}
	case "notApplicable":
		return line{Icon: iconUnknown, Text: "Not applicable"}
	case "notAssigned":
		return line{Icon: iconUnknown, Text: "Not assigned"}
	case "remediated":
		return line{Icon: iconGood, Tone: good, Text: "Remediated"}
	}
	return line{Icon: iconUnknown, Text: readable(state)}
}

// rowState is NinjaOne's class of a table row for a compliance state.
func rowState(state string) literal {
	switch state {
	case tenant.StateCompliant, "remediated":
		return "success"
	case tenant.StateNoncompliant, tenant.StateConflict, tenant.StateError:
		return "danger"
	case tenant.StateInGracePeriod:
		return "warning"
	}
	return "unknown"
}

// date returns a time as an ISO date in UTC, or "" when there is none. Intune
// writes "never" as the last day of year 9999 and as the first of year 1.
func date(t time.Time) string {
	if t.IsZero() || t.Year() <= 1 || t.Year() >= 9999 {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// days returns how many whole UTC days lie between t and today; never
// negative.
func days(t, today time.Time) int {
	floor := func(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
	return max(0, int(floor(today).Sub(floor(t))/(24*time.Hour)))
}

// bracket says how long ago t was. The words change only when t crosses from one bracket
// to the next. Today belongs to the first one. Otherwise a device that checks in every
// day would change its words at every run.
func bracket(t, today time.Time) string {
	if date(t) == "" {
		return "not known"
	}
	switch d := days(t, today); {
	case d <= 7:
		return "within 7 days"
	case d <= 30:
		return "within 30 days"
	case d <= 90:
		return "within 90 days"
	}
	return "more than 90 days ago"
}

// size rounds a number of bytes to what a person reads.
func size(n int64) string {
	const gb = 1 << 30
	switch {
	case n < gb:
		return "less than 1 GB"
	case n < 1000*gb:
		return strconv.FormatInt((n+gb/2)/gb, 10) + " GB"
	}
	// Terabytes with one decimal, which is dropped when it is zero.
	tenths := (n>>20*10 + 1<<19) >> 20
	if tenths%10 == 0 {
		return count(int(tenths/10)) + " TB"
	}
	return count(int(tenths/10)) + "." + strconv.FormatInt(tenths%10, 10) + " TB"
}

// knownSize is size; "" for a number of bytes that is not known.
func knownSize(n int64) string {
	if n <= 0 {
		return ""
	}
	return size(n)
}

// percent returns part of whole as a whole percentage, 0..100. Only nothing
// is 0 and only everything is 100.
func percent(part, whole float64) int {
	if whole <= 0 || part <= 0 {
		return 0
	}
	if part >= whole {
		return 100
	}
	return min(max(int(part/whole*100+0.5), 1), 99)
}

// count writes a number with thousands set apart.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural returns "1 group" or "2 groups".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// yesNo is a fact that is neither good nor bad.
func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

// unavailable is the line that stands where a part is missing.
func unavailable(reason string) string {
	reason = clip(reason, maxReason)
	const lead = "Not available"
	switch {
	case reason == "":
		return lead
	case len(reason) >= len(lead) && strings.EqualFold(reason[:len(lead)], lead):
		return reason
	}
	return lead + ": " + reason
}

func unavailableLine(reason string) line {
	return line{Icon: iconUnknown, Text: unavailable(reason)}
}

// wordsOf are words of Graph and Intune that splitting would not make readable.
var wordsOf = map[string]string{
	"windows10andlater":                     "Windows",
	"ios":                                   "iOS",
	"macos":                                 "macOS",
	"azuread":                               "Entra joined",
	"serverad":                              "Entra hybrid joined",
	"workplace":                             "Entra registered",
	"azureadjoined":                         "Entra joined",
	"azureadregistered":                     "Entra registered",
	"hybridazureadjoined":                   "Entra hybrid joined",
	"mdm":                                   "Intune (MDM)",
	"easmdm":                                "Intune (MDM) and Exchange ActiveSync",
	"eas":                                   "Exchange ActiveSync",
	"intuneclient":                          "Intune client",
	"easintuneclient":                       "Intune client and Exchange ActiveSync",
	"configurationmanagerclient":            "Configuration Manager",
	"configurationmanagerclientmdm":         "Intune and Configuration Manager (co-managed)",
	"configurationmanagerclientmdmeas":      "Intune, Configuration Manager and Exchange ActiveSync",
	"jamf":                                  "Jamf",
	"hypervnotavailable":                    "Hyper-V not available",
	"googleclouddevicepolicycontroller":     "Google Cloud device policy",
	"mssense":                               "Defender for Endpoint",
	"windowsazureadjoin":                    "Windows, Entra join",
	"windowsazureadjoinusingdeviceauth":     "Windows, Entra join by the device",
	"windowsbulkazuredomainjoin":            "Windows, Entra join in bulk",
	"windowsautoenrollment":                 "Windows, automatic",
	"windowscomanagement":                   "Windows, co-management",
	"windowsbulkuserless":                   "Windows, in bulk without a user",
	"userenrollment":                        "By the user",
	"deviceenrollmentmanager":               "By an enrolment manager",
	"appleuserenrollment":                   "Apple user enrolment",
	"applebulkwithuser":                     "Apple automated enrolment with a user",
	"applebulkwithoutuser":                  "Apple automated enrolment without a user",
	"androidenterprisededicateddevice":      "Android Enterprise, dedicated device",
	"androidenterprisefullymanaged":         "Android Enterprise, fully managed",
	"androidenterprisecorporateworkprofile": "Android Enterprise, corporate work profile",
	"androidaospuserowneddeviceenrollment":  "Android (AOSP), device of a user",
	"androidaospuserlessdeviceenrollment":   "Android (AOSP), device without a user",
}

// readable makes a value of Graph, or a name of CIPP's, that is words in one fit for people.
// A word begins at a capital after a small letter. It also begins at the last capital of
// several, or one after digits, where small letters follow: MDMScope, M365Group. Short
// forms stay in capitals, and so do their plurals.
func readable(s string) string {
	s = text(s)
	if w, ok := wordsOf[strings.ToLower(s)]; ok {
		return w
	}
	var b strings.Builder
	runes := []rune(s)
	at := func(i int) rune {
		if i < len(runes) {
			return runes[i]
		}
		return 0
	}
	word := 0 // where the present one begins
	for i, r := range runes {
		if i == 0 {
			b.WriteRune(unicode.ToUpper(r))
			continue
		}
		last, next := runes[i-1], at(i+1)
		inside := unicode.IsUpper(last) || unicode.IsDigit(last)
		ends := inside && i-word > 1 && unicode.IsLower(next) && !(next == 's' && !unicode.IsLower(at(i+2)))
		if unicode.IsUpper(r) && (unicode.IsLower(last) || ends) {
			b.WriteRune(' ')
			word = i
			if !unicode.IsUpper(next) && !unicode.IsDigit(next) {
				r = unicode.ToLower(r)
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// points writes a number of secure score points with at most one decimal.
func points(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}
