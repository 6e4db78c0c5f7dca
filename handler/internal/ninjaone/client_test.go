package ninjaone

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestEncodeQuery(t *testing.T) {
	got := encodeQuery([]param{{"df", "org = 7 AND class in (MAC)"}, {"fields", "a+b&c=d"}, {"after", "9"}})
	if want := "df=org%20%3D%207%20AND%20class%20in%20%28MAC%29&fields=a%2Bb%26c%3Dd&after=9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExpand(t *testing.T) {
	got := expand("/v2/organization/{id}/location/{locationId}/custom-fields", []any{7, "a/b c"})
	if want := "/v2/organization/7/location/a%2Fb%20c/custom-fields"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCallsAreLogged(t *testing.T) {
	simulate(t, func(t *testing.T) {
		first := true
		fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Nj-Request-Id", "req-77")
			if first {
				first = false
				w.Header().Set("Retry-After", "3")
				answer(w, 429, `{"message":"body text"}`)
				return
			}
			answer(w, 200, `[{"id":7,"displayName":"body text"}]`)
		})
		var log bytes.Buffer
		c := inProcess(t, fake, func(cfg *Deps) {
			cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		if _, _, err := c.Devices(t.Context(), 42); err != nil {
			t.Fatal(err)
		}
		text := log.String()
		lines := strings.Split(strings.TrimSpace(text), "\n")
		want := []string{
			`msg="NinjaOne call" method=POST path=/ws/oauth/token status=200 duration=0s attempt=1 throttled=false requestId=""`,
			`msg="NinjaOne call" method=GET path=/v2/devices-detailed status=429 duration=0s attempt=1 throttled=true requestId=req-77`,
			`msg="NinjaOne call" method=GET path=/v2/devices-detailed status=200 duration=0s attempt=2 throttled=false requestId=req-77`,
		}
		if !slices.EqualFunc(lines, want, strings.HasSuffix) {
			t.Errorf("log:\n%s", text)
		}
		for _, private := range []string{"token-1", testSecret, testClientID, "body text", "org%20"} {
			if strings.Contains(text, private) {
				t.Errorf("%q in the log:\n%s", private, text)
			}
		}
	})
}

func TestErrorsNameTheCallWithoutItsQuery(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 403, `{}`) })
	_, _, err := serve(t, fake).Devices(t.Context(), 42)
	if err == nil || !strings.Contains(err.Error(), "GET /v2/devices-detailed") || strings.Contains(err.Error(), "df=") {
		t.Errorf("got %v", err)
	}
	c := newClient(t, func(d *Deps) { d.Endpoint = "http://127.0.0.1:1" })
	c.tokens.kept.Put(struct{}{}, token{value: "t"})
	r := newRequest(http.MethodPost, "/v2/thing", nil, []param{{"df", "private"}}, nil)
	if err := c.send(t.Context(), r, "t", &Call{}, nil); err == nil || strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
}
