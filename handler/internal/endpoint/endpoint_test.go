package endpoint

import (
	"net/url"
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
