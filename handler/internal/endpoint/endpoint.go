// Package endpoint judges the addresses of services. It calls none of them, and
// reads no setting.
package endpoint

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// Parse reads the base address of a service, to which secrets may travel. It has the host
// in lower case, and no slash at its end. The error says what the address must be, and
// does not quote it.
func Parse(text string) (*url.URL, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must be an absolute URL, such as https://service.example")
	case !Safe(u):
		return nil, errors.New("must use https: plain http is for loopback addresses only")
	case u.User != nil || strings.ContainsAny(text, "?#"):
		return nil, errors.New("must hold no user name, password, query or fragment")
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// Loopback reports whether a host, without a port, is this machine.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// Local reports whether an address is on this machine.
func Local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && Loopback(u.Hostname())
}

// Safe reports whether secrets may travel to an address: by https, or to this
// machine.
func Safe(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname())
}
