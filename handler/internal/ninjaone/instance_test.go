package ninjaone

import (
	"strings"
	"testing"
)

func TestNormalizeInstance(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"bare", "eu.ninjarmm.com", "eu.ninjarmm.com"},
		{"every region app", "app.ninjarmm.com", "app.ninjarmm.com"},
		{"every region us2", "us2.ninjarmm.com", "us2.ninjarmm.com"},
		{"every region oc", "oc.ninjarmm.com", "oc.ninjarmm.com"},
		{"every region ca", "ca.ninjarmm.com", "ca.ninjarmm.com"},
		{"every region fed", "fed.ninjarmm.com", "fed.ninjarmm.com"},
		{"every region jp", "jp.ninjarmm.com", "jp.ninjarmm.com"},
		{"space, case", "  EU.NinjaRMM.com\n", "eu.ninjarmm.com"},
		{"scheme and path", "HTTPS://eu.ninjarmm.com/ws/", "eu.ninjarmm.com"},
		{"ws only", "eu.ninjarmm.com/ws", "eu.ninjarmm.com"},
		{"plain http scheme", "http://eu.ninjarmm.com", "eu.ninjarmm.com"},
		{"port", "https://eu.ninjarmm.com:443/api/v2?x=1#y", "eu.ninjarmm.com"},
		{"branded com", "fabrikam-it.rmmservice.com", "fabrikam-it.rmmservice.com"},
		{"branded eu", "https://Fabrikam.rmmservice.eu/", "fabrikam.rmmservice.eu"},
		{"branded ca", "fabrikam.rmmservice.ca", "fabrikam.rmmservice.ca"},
		{"branded com.au", "HTTPS://fabrikam.RMMservice.com.au/ws", "fabrikam.rmmservice.com.au"},

		{"empty", "", ""},
		{"scheme only", "https://", ""},
		{"key instead of host", "eu", ""},
		{"undocumented host", "api.ninjarmm.com", ""},
		{"other site", "ninjarmm.example.com", ""},
		{"suffix attack", "eu.ninjarmm.com.example.com", ""},
		{"prefix attack", "evil-eu.ninjarmm.com", ""},
		{"trailing dot", "eu.ninjarmm.com.", ""},
		{"user information", "https://eu.ninjarmm.com@example.com", ""},
		{"user information before", "https://user:hunter2@eu.ninjarmm.com", ""},
		{"backslash", `eu.ninjarmm.com\@example.com`, ""},
		{"IPv4", "127.0.0.1", ""},
		{"IPv6", "[::1]:443", ""},
		{"kelvin sign", "jp.ninjarmm\u212A.com", ""},
		{"cyrillic", "\u0435u.ninjarmm.com", ""},
		{"full width dot", "eu\uff0eninjarmm.com", ""},
		{"inner newline", "eu.ninjarmm.com\r\nexample", ""},
		{"port that is none", "eu.ninjarmm.com:443x", ""},
		{"branded without label", "rmmservice.com", ""},
		{"branded two labels", "a.b.rmmservice.com", ""},
		{"branded odd label", "-a.rmmservice.com", ""},
		{"branded empty label", ".rmmservice.com", ""},
		{"branded look-alike", "fabrikam.rmmservice.com.example.com", ""},
		{"branded other domain", "fabrikam.rmmservice.net", ""},
		{"branded au without label", "rmmservice.com.au", ""},
		{"branded other au", "fabrikam.rmmservice.net.au", ""},
		{"branded com as a label", "rmmservice.com.ca", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NormalizeInstance(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Fatalf("NormalizeInstance(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

func FuzzNormalizeInstance(f *testing.F) {
	for _, s := range []string{"eu.ninjarmm.com", "https://EU.ninjarmm.com:443/ws", "a.rmmservice.eu", "https://x@eu.ninjarmm.com", "\u212A", "[::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := NormalizeInstance(s)
		if err != nil {
			return
		}
		if !instances[host] && !brandedPortal.MatchString(host) {
			t.Fatalf("NormalizeInstance(%q) = %q, which is not allowed", s, host)
		}
		if again, err := NormalizeInstance(host); err != nil || again != host {
			t.Fatalf("NormalizeInstance(%q) = %q, %v; want it unchanged", host, again, err)
		}
	})
}

func TestBaseURL(t *testing.T) {
	for _, tt := range []struct{ name, instance, endpoint, want string }{
		{"instance", "https://EU.ninjarmm.com/ws", "", "https://eu.ninjarmm.com"},
		{"endpoint wins", "eu.ninjarmm.com", "https://ninja.fabrikam.example", "https://ninja.fabrikam.example"},
		{"endpoint with path", "", "https://proxy.fabrikam.example/ninja/", "https://proxy.fabrikam.example/ninja"},
		{"loopback", "", "http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"plain http elsewhere", "", "http://ninja.fabrikam.example", ""},
		{"bad instance", "example.com", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := baseURL(tt.instance, tt.endpoint)
			if (err == nil) != (tt.want != "") || err == nil && u.String() != tt.want {
				t.Fatalf("got %v, %v; want %q", u, err, tt.want)
			}
		})
	}
}
