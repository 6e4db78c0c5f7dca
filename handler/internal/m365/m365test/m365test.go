// Package m365test makes readers of simulated tenants, for tests of several packages.
package m365test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/sandbox/m365sim"
)

// Reader returns a reader of the services at the addresses, of which some may be "". It
// completes what a test leaves out.
func Reader(t testing.TB, at m365sim.Endpoints, d m365.Deps) *m365.Reader {
	t.Helper()
	for to, address := range map[**url.URL]string{&d.GraphEndpoint: at.Graph, &d.LoginEndpoint: at.Login, &d.ExchangeEndpoint: at.Exchange, &d.DefenderEndpoint: at.Defender} {
		var err error
		if *to, err = url.Parse(address); err != nil {
			t.Fatal(err)
		}
	}
	if d.Transport == nil {
		d.Transport = http.DefaultTransport
	}
	d.Sleep, d.Now = retry.Sleep, time.Now
	return m365.New(d)
}
