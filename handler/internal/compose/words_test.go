package compose

import (
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/tenant"
)

func TestComplianceText(t *testing.T) {
	for state, want := range map[string]string{
		tenant.StateCompliant:     "Compliant",
		tenant.StateNoncompliant:  "Non-Compliant",
		tenant.StateConflict:      "Non-Compliant",
		tenant.StateError:         "Non-Compliant",
		tenant.StateInGracePeriod: "Non-Compliant",
		tenant.StateUnknown:       "",
		tenant.StateConfigManager: "",
		"":                        "",
		"somethingNew":            "",
	} {
		if got := ComplianceText(state); got != want {
			t.Errorf("%q gives %q, not %q", state, got, want)
		}
	}
}

func TestBracket(t *testing.T) {
	for name, c := range map[string]struct {
		at   time.Time
		want string
	}{
		"never":                {time.Time{}, "not known"},
		"Intune's last day":    {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "not known"},
		"ahead of our clock":   {today.Add(2 * time.Hour), "within 7 days"},
		"today":                {today.Add(-time.Hour), "within 7 days"},
		"seventh day, early":   {time.Date(2026, 11, 16, 0, 0, 1, 0, time.UTC), "within 7 days"},
		"eighth day, late":     {time.Date(2026, 11, 15, 23, 59, 0, 0, time.UTC), "within 30 days"},
		"other zone, same day": {time.Date(2026, 11, 16, 1, 0, 0, 0, time.FixedZone("", 7200)), "within 30 days"},
		"thirty-one days":      {ago(31), "within 90 days"},
		"ninety days":          {ago(90), "within 90 days"},
		"ninety-one days":      {ago(91), "more than 90 days ago"},
	} {
		if got := bracket(c.at, today); got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "less than 1 GB", gb - 1: "less than 1 GB", gb: "1 GB", 12*gb + 1<<20: "12 GB", 999 * gb: "999 GB",
		1024 * gb: "1 TB", 1536 * gb: "1.5 TB", 5 * 1024 * gb: "5 TB", 1 << 62: "4,194,304 TB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, not %q", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for name, c := range map[string]struct {
		part, whole float64
		want        int
	}{
		"none": {0, 10, 0}, "all": {10, 10, 100}, "more than all": {11, 10, 100}, "a trace": {1, 1e6, 1}, "nearly all": {999_999, 1e6, 99},
		"no whole": {1, 0, 0}, "half up": {0.125, 1, 13},
	} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}

func TestSharesAddUp(t *testing.T) {
	for name, counts := range map[string][]int{
		"thirds": {1, 1, 1}, "traces": {1, 1, 1, 100_000}, "one kind": {0, 7, 0}, "nothing": {0, 0}, "sevenths": {1, 2, 4},
	} {
		var all []share
		total := 0
		for _, n := range counts {
			all = append(all, share{n: n})
			total += n
		}
		sum := 0
		for i, p := range shares("", all...).Parts {
			if sum += p.Percent; p.Percent == 0 && counts[i] > 0 {
				t.Errorf("%s: a kind that exists has no part", name)
			}
		}
		if want := min(total, 1) * 100; sum != want {
			t.Errorf("%s: the parts add up to %d%%", name, sum)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "company": "Company", "windowsAzureADJoin": "Windows, Entra join", "someNewValue": "Some new value", "usesTPMChip": "Uses TPM chip", "<b>": "<b>",
		"hyperVNotAvailable": "Hyper-V not available", "windows81AndLater": "Windows81 and later", "require64BitArchitecture": "Require64 bit architecture",
		// Names of CIPP's standards.
		"AuditLog": "Audit log", "DisableM365GroupUsers": "Disable M365 group users", "LegacyMFACleanup": "Legacy MFA cleanup", "MDMScope": "MDM scope",
		"SPAzureB2B": "SP azure B2B", "EXODirectSend": "EXO direct send", "AddDMARCToMOERA": "Add DMARC to MOERA", "AtpPolicyForO365": "Atp policy for O365",
		"EnableFIDO2": "Enable FIDO2", "EnableHardwareOAuth": "Enable hardware OAuth", "PerUserMFA": "Per user MFA", "TAP": "TAP", "unmanagedSync": "Unmanaged sync",
		"PWdisplayAppInformationRequiredState": "PWdisplay app information required state", "ListURLsFirst": "List URLs first", "TenantIDs": "Tenant IDs",
	} {
		if got := readable(in); got != want {
			t.Errorf("%q reads %q, not %q", in, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":            {"Mira", "Mira"},
		"spaces":           {"  a \t\r\n b\u2028c ", "a b c"},
		"control":          {"a\x00\x1bb", "ab"},
		"direction":        {"exe\u202egpj", "exegpj"},
		"not UTF-8":        {"a\xffb", "ab"},
		"as long as it is": {strings.Repeat("é", maxText), strings.Repeat("é", maxText)},
		"too long":         {strings.Repeat("é", maxText+1), strings.Repeat("é", maxText-1) + "…"},
	} {
		if got := text(c.in); got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -100: "-100", -1000: "-1,000"} {
		if got := count(n); got != want {
			t.Errorf("%d reads %q, not %q", n, got, want)
		}
	}
}

func TestTenantURL(t *testing.T) {
	for in, want := range map[string]link{
		"https://security.microsoft.com/a?b=c#d":    "https://security.microsoft.com/a?b=c#d",
		" HTTPS://Learn.Microsoft.com/x ":           "https://learn.microsoft.com/x",
		"":                                          "",
		"http://security.microsoft.com/":            "",
		"javascript:alert(1)":                       "",
		"//evil.example/":                           "",
		"https:/evil.example":                       "",
		"https:evil.example":                        "",
		"https://user@evil.example/":                "",
		"https://evil.example\\@good.example/":      "",
		"https://ev il.example/":                    "",
		"https://" + strings.Repeat("a", 3000):      "",
		`https://x.example/"><script>`:              "https://x.example/%22%3E%3Cscript%3E",
		`https://x.example/a'b?c="é'<> %zz%41&d+#'`: "https://x.example/a%27b?c=%22%c3%a9%27%3c%3e%20%25zz%41&d+#%27",
		"data:text/html,<script>alert(1)</script>":  "",
	} {
		if got := tenantURL(in); got != want {
			t.Errorf("%q gives %q, not %q", in, got, want)
		}
	}
}

func TestAddressEscapes(t *testing.T) {
	a := address{host: checkedHost("Entra.microsoft.com"), path: []string{"a/b?c#d", ""}, query: [][2]string{{"q", "x&y=z"}}, fragment: []string{"view", "~", "x/y#z"}}
	if got, want := a.url(), link("https://entra.microsoft.com/a%2Fb%3Fc%23d/?q=x%26y%3Dz#view/~/x%2Fy%23z"); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	for _, host := range []string{"", "a/b", "a b", "x@y", "https://a.example", "a..b", "-a.example", "a.example:port"} {
		if got := (address{host: checkedHost(host)}).url(); got != "" {
			t.Errorf("host %q gives the link %s", host, got)
		}
	}
}

func FuzzTenantURL(f *testing.F) {
	for _, s := range []string{"https://a.example/x?y#z", "javascript:1", "https://a.example/\"'<>", "https://[::1]/", "https://a.example:99999/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u := string(tenantURL(s)); u != "" && (!strings.HasPrefix(u, "https://") || strings.ContainsAny(u, "\"'<>()` \\")) {
			t.Errorf("%q became the link %q", s, u)
		}
	})
}
