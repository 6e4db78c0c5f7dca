package azuritetest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
)

// Traffic counts what passes between a test and its tables.
type Traffic struct {
	Calls atomic.Int64
	Bytes atomic.Int64 // of answers
	// Traffic calls Between once, before it hands on the next update of a row. The result
	// says whether to lose the answer. A nil Between does nothing.
	Between atomic.Pointer[func() (lost bool)]
	// Traffic asks Ended before each request that writes whether the sending process has
	// ended. Then it writes nothing. A nil Ended means never.
	Ended atomic.Pointer[func() bool]
}

// isUpdate reports whether a request changes a row that exists, or several rows in
// one transaction.
func isUpdate(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/$batch") || r.Header.Get("If-Match") != "" && (r.Method == http.MethodPatch || r.Method == http.MethodPut || r.Method == "MERGE")
}

// Watched returns a connection to the storage emulator's tables, and counts what
// passes over it.
func Watched(t testing.TB) (connection string, seen *Traffic) {
	t.Helper()
	emulator := ForTest(t)
	service, err := url.Parse(emulator.TableEndpoint())
	if err != nil {
		t.Fatal(err)
	}
	seen = &Traffic{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: service.Scheme, Host: service.Host})
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
	forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // calls that a test cuts short
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Calls.Add(1)
		if ended := seen.Ended.Load(); ended != nil && r.Method != http.MethodGet && (*ended)() {
			w.WriteHeader(http.StatusForbidden) // which nobody repeats
			return
		}
		lost := false
		if isUpdate(r) {
			if happens := seen.Between.Swap(nil); happens != nil {
				lost = (*happens)()
			}
		}
		if lost {
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(&counting{w, seen}, r)
	}))
	t.Cleanup(server.Close)
	return "DefaultEndpointsProtocol=http;AccountName=" + azurite.AccountName + ";AccountKey=" + azurite.AccountKey +
		";QueueEndpoint=" + emulator.QueueEndpoint() + ";BlobEndpoint=" + emulator.BlobEndpoint() +
		";TableEndpoint=" + server.URL + "/" + azurite.AccountName + ";", seen
}

type counting struct {
	http.ResponseWriter
	seen *Traffic
}

func (c *counting) Write(b []byte) (int, error) {
	c.seen.Bytes.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}
