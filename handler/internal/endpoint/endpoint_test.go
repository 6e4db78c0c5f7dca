package endpoint

import (
	"net/url"
	"strings"
	"testing"
)

func TestSafe(t *testing.T) {
	for address, want := range map[string]struct{ local, safe bool }{
		"https://graph.microsoft.com":       {false, true},
		"http://graph.microsoft.com":        {},
		"http://127.0.0.1:7071":             {true, true},
		"http://127.8.0.1":                  {true, true},
		"http://[::1]:7071":                 {true, true},
		"http://[::ffff:127.0.0.1]":         {true, true},
		"http://LocalHost:1":                {true, true},
		"https://localhost":                 {true, true},
		"ftp://localhost":                   {true, false},
		"http://127.0.0.1.fabrikam.example": {},
		"http://localhost.fabrikam.example": {},
		"http://":                           {},
		"":                                  {},
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if Local(address) != want.local || Safe(u) != want.safe {
			t.Errorf("%q: local %t, safe %t; want %t, %t", address, Local(address), Safe(u), want.local, want.safe)
		}
	}
	if Local("http://%zz") {
		t.Error("an address that cannot be read is local")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		" https://Graph.microsoft.us/ ":         "https://graph.microsoft.us",
		"https://proxy.fabrikam.example/ninja/": "https://proxy.fabrikam.example/ninja",
		"http://127.0.0.1:8080":                 "http://127.0.0.1:8080",
		"http://[::1]:8080/":                    "http://[::1]:8080",
		"http://localhost:8080":                 "http://localhost:8080",
		"http://graph.example":                  "",
		"http://127.0.0.1.example.com":          "",
		"https://me:hush@outlook.example":       "",
		"https://fabrikam.example?code=hush":    "",
		"https://fabrikam.example/?":            "",
		"https://fabrikam.example#hush":         "",
		"https://fabrikam.example/#":            "",
		"https://:443":                          "",
		"https://[::1":                          "",
		"graph.microsoft.com":                   "",
		"ftp://127.0.0.1":                       "",
		"":                                      "",
	} {
		u, err := Parse(text)
		if (err == nil) != (want != "") || err == nil && u.String() != want {
			t.Errorf("%q became %v, %v; want %q", text, u, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: the error quotes it: %v", text, err)
		}
	}
}
