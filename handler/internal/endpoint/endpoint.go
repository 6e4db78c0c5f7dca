// Package endpoint judges the addresses of services. It calls none of them, and
// reads no setting.
package endpoint

import (
	"net/netip"
	"net/url"
	"strings"
)

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
