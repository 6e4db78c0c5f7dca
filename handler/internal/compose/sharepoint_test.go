package compose

import (
	"slices"
	"testing"

	"cipp-ninjaone/handler/internal/tenant"
)

// TestSharePointHost builds the link to the admin centre in every cloud.
func TestSharePointHost(t *testing.T) {
	for name, tt := range map[string]struct {
		found, initial string
		dod            bool
		want           string
	}{
		"worldwide":                             {"", "larkfield.onmicrosoft.com", false, "larkfield-admin.sharepoint.com"},
		"in any case":                           {"", " Larkfield.OnMicrosoft.com ", false, "larkfield-admin.sharepoint.com"},
		"GCC High":                              {"", "larkfield.onmicrosoft.us", false, "larkfield-admin.sharepoint.us"},
		"DoD":                                   {"", "larkfield.onmicrosoft.us", true, "larkfield-admin.sharepoint-mil.us"},
		"DoD, found by CIPP":                    {"https://larkfield-admin.sharepoint-mil.us/", "larkfield.onmicrosoft.us", false, "larkfield-admin.sharepoint-mil.us"},
		"China":                                 {"", "larkfield.partner.onmschina.cn", false, "larkfield-admin.sharepoint.cn"},
		"Germany":                               {"", "larkfield.onmicrosoft.de", false, "larkfield-admin.sharepoint.de"},
		"renamed, found by CIPP":                {"https://lark-admin.sharepoint.com", "larkfield.onmicrosoft.com", false, "lark-admin.sharepoint.com"},
		"found in another cloud":                {"https://larkfield-admin.sharepoint.com", "larkfield.onmicrosoft.us", false, "larkfield-admin.sharepoint.us"},
		"found, and no initial domain":          {"https://lark-admin.sharepoint.com", "", false, "lark-admin.sharepoint.com"},
		"found, but not an admin centre":        {"https://lark.sharepoint.com", "", false, ""},
		"found, but not SharePoint":             {"https://lark-admin.sharepoint.com.evil.example", "larkfield.onmicrosoft.com", false, "larkfield-admin.sharepoint.com"},
		"found, but not https":                  {"http://lark-admin.sharepoint.com", "larkfield.onmicrosoft.com", false, "larkfield-admin.sharepoint.com"},
		"found, but nothing that could be read": {"://", "larkfield.onmicrosoft.com", false, "larkfield-admin.sharepoint.com"},
		"a domain of its own tells nothing":     {"", "larkfield.example", false, ""},
		"nothing":                               {"", "", false, ""},
	} {
		if got := sharePointHost(tt.found, tt.initial, tt.dod); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		in := Input{Snapshot: &tenant.Snapshot{DoD: tt.dod, Tenant: tenant.Ref{ID: "t", InitialDomain: tt.initial, SharePointAdmin: tt.found}}}
		links := tenantLinks(newLinks(in)).Cards[0].Links
		i := slices.IndexFunc(links, func(l line) bool { return l.Text == "SharePoint admin" })
		if tt.want == "" && i >= 0 || tt.want != "" && (i < 0 || links[i].Href != link("https://"+tt.want)) {
			t.Errorf("%s: the links are %v", name, links)
		}
	}
}
