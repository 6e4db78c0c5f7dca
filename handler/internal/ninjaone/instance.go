package ninjaone

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"cipp-ninjaone/handler/internal/endpoint"
)

// instances are NinjaOne's own API hosts.
var instances = map[string]bool{
	"app.ninjarmm.com": true,
	"us2.ninjarmm.com": true,
	"eu.ninjarmm.com":  true,
	"oc.ninjarmm.com":  true,
	"ca.ninjarmm.com":  true,
	"fed.ninjarmm.com": true,
	"jp.ninjarmm.com":  true,
}

// brandedPortal matches the portals that carry an MSP's own name: exactly one
// label below one of NinjaOne's portal domains.
var brandedPortal = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.rmmservice\.(com|eu|ca|com\.au)$`)

// KnownInstances names, for a technician, the hosts that NormalizeInstance takes.
const KnownInstances = "app, us2, eu, oc, ca, fed or jp.ninjarmm.com, or a portal below rmmservice.com, rmmservice.eu, rmmservice.ca or rmmservice.com.au"

var plainHost = regexp.MustCompile(`^[a-z0-9.-]{1,253}$`)

// NormalizeInstance turns an instance as people and older configurations write it
// ("https://EU.ninjarmm.com/ws") into the bare host name. It refuses every host that is
// not NinjaOne's, since the host receives the client secret.
//
// It drops surrounding space, the scheme, the port and the path. It refuses user
// information, addresses and letters outside ASCII.
func NormalizeInstance(s string) (string, error) {
	host := strings.TrimSpace(s)
	for _, r := range host {
		if r <= ' ' || r > '~' || r == '\\' {
			return "", errors.New("the NinjaOne instance holds a character that no host name has; expected a host such as eu.ninjarmm.com")
		}
	}
	host = strings.ToLower(host)
	if rest, ok := strings.CutPrefix(host, "https://"); ok {
		host = rest
	} else {
		host = strings.TrimPrefix(host, "http://")
	}
	if i := strings.IndexAny(host, "/?#"); i >= 0 {
		host = host[:i]
	}
	if strings.Contains(host, "@") {
		return "", errors.New("the NinjaOne instance holds user information; expected only a host such as eu.ninjarmm.com")
	}
	if name, port, ok := strings.Cut(host, ":"); ok && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	switch {
	case host == "":
		return "", errors.New("the NinjaOne instance is not set; expected a host such as eu.ninjarmm.com")
	case instances[host] || brandedPortal.MatchString(host):
		return host, nil
	case !plainHost.MatchString(host):
		return "", errors.New("the NinjaOne instance is not a host name; expected one such as eu.ninjarmm.com")
	}
	return "", fmt.Errorf("%q is not a NinjaOne instance; expected "+KnownInstances, host)
}

// baseURL returns the root that every request of the client starts with,
// without a final slash.
func baseURL(instance, override string) (*url.URL, error) {
	if override == "" {
		host, err := NormalizeInstance(instance)
		if err != nil {
			return nil, err
		}
		return &url.URL{Scheme: "https", Host: host}, nil
	}
	u, err := endpoint.Parse(override)
	if err != nil {
		return nil, fmt.Errorf("the NinjaOne endpoint %w", err)
	}
	return u, nil
}
