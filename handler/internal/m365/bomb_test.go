package m365

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/sandbox/draw"
)

// TestBombsInEveryPart has up to four tenants be read at once from services that
// answer every call with a small compressed answer that unpacks to 4 GiB. Each
// part is absent, and the process stays small. Each day tries one kind of answer.
func TestBombsInEveryPart(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as the handler does
	all := map[string]struct {
		begin, again string
		tenants      int
	}{
		"records":      {`{"value":[`, `{"id":"1","displayName":"` + strings.Repeat("x", 150) + `"},`, 4},
		"one string":   {`{"value":[{"id":"`, "a", 1},
		"tiny members": {`{"value":[{"id":"1","members@delta":[`, `{"id":"1"},`, 1},
		"nested":       {`{"value":[{"id":"1","a":`, `[`, 4},
		"rows":         {mailHeader, "a@tailspin.example,1,False\n", 1},
	}
	for _, name := range draw.Of(t, len(all), slices.Sorted(maps.Keys(all))) {
		bomb := all[name]
		t.Run(name, func(t *testing.T) {
			server := bombs(t, bomb.begin, bomb.again)
			at := address(t, server.URL)
			reader := newReader(t, Deps{GraphEndpoint: at, LoginEndpoint: at, ExchangeEndpoint: at,
				Credentials: anySecret{}, Sleep: retry.Sleep})
			var reads sync.WaitGroup
			for _, last := range []string{"1", "2", "3", "4"}[:bomb.tenants] {
				reads.Go(func() {
					s, err := reader.Read(t.Context(), tenant.Ref{ID: "c0000000-0000-4000-8000-00000000000" + last}, nil)
					if err == nil && (s.Users.OK() || s.ManagedDevices.OK() || s.Groups.OK()) {
						t.Error("a bomb was taken for a list")
					}
				})
			}
			reads.Wait()
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("the process took %d MiB at most", m.Sys>>20)
	if m.Sys > 600<<20 {
		t.Errorf("the process took %d MiB", m.Sys>>20)
	}
}

type anySecret struct{}

func (anySecret) Secret(context.Context, string, bool) (string, error) { return "secret", nil }

// bombs serves tokens, and to everything else begin followed by again for 4 GiB.
func bombs(t *testing.T, begin, again string) *httptest.Server {
	pack := func(s string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return b.Bytes()
	}
	const part = 1 << 20
	first, more := pack(begin), pack(strings.Repeat(again, part/len(again)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			_, _ = io.WriteString(w, `{"access_token":"t","expires_in":3600}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(first)
		for range (4 << 30) / part {
			if _, err := w.Write(more); err != nil {
				return
			}
		}
	}))
	server.Config.WriteTimeout = time.Minute
	server.Start()
	t.Cleanup(server.Close)
	return server
}
