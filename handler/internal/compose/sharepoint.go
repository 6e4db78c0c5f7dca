package compose

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	// initialDomain is a tenant's first domain name: its label, and the cloud's.
	initialDomain = regexp.MustCompile(`^([a-z0-9-]+)(?:\.[a-z0-9-]+)*\.on(?:microsoft\.([a-z]+)|mschina\.cn)$`)
	// sharePointAdminHost is the host of an admin centre, of any cloud.
	sharePointAdminHost = regexp.MustCompile(`^[a-z0-9-]+-admin\.sharepoint(?:\.[a-z]+|-mil\.us)$`)
)

// sharePointHost returns the host of a tenant's SharePoint admin centre. It is the host
// that CIPP found, unless the initial domain says another cloud. Else it follows from the
// initial domain. It is "" when neither tells. CIPP does the same since the versions
// after 10.8.2. Two clouds share the domain names that end in .us. There dod decides,
// where CIPP found no host.
func sharePointHost(found, initial string, dod bool) string {
	label, domain := "", "sharepoint.com"
	if m := initialDomain.FindStringSubmatch(strings.ToLower(strings.TrimSpace(initial))); m != nil {
		label = m[1]
		switch {
		case m[2] == "":
			domain = "sharepoint.cn"
		case m[2] == "us" && dod:
			domain = "sharepoint-mil.us"
		default:
			domain = "sharepoint." + m[2]
		}
	}
	if u, err := url.Parse(found); err == nil && strings.EqualFold(u.Scheme, "https") {
		host := strings.ToLower(u.Host)
		if sharePointAdminHost.MatchString(host) && lastLabel(host) == lastLabel(domain) {
			return host
		}
	}
	if label == "" {
		return ""
	}
	return label + "-admin." + domain
}

func lastLabel(host string) string { return host[strings.LastIndexByte(host, '.')+1:] }
