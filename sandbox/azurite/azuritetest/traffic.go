package azuritetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"cipp-ninjaone/sandbox/storageproxy"
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

// Watched returns a connection to the storage emulator through a proxy, and counts what
// passes between it and the tables.
func Watched(t testing.TB) (connection string, seen *Traffic) {
	t.Helper()
	proxy, err := storageproxy.Start(ForTest(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	seen = &Traffic{}
	proxy.Wrap(func(service string, next http.Handler) http.Handler {
		if service != storageproxy.Table {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.pass(w, r, next) })
	})
	return proxy.ConnectionString(), seen
}

func (seen *Traffic) pass(w http.ResponseWriter, r *http.Request, next http.Handler) {
	seen.Calls.Add(1)
	if ended := seen.Ended.Load(); ended != nil && r.Method != http.MethodGet && (*ended)() {
		w.WriteHeader(http.StatusForbidden) // which nobody repeats
		return
	}
	if isUpdate(r) {
		if happens := seen.Between.Swap(nil); happens != nil && (*happens)() {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
	}
	next.ServeHTTP(&counting{w, seen}, r)
}

type counting struct {
	http.ResponseWriter
	seen *Traffic
}

func (c *counting) Write(b []byte) (int, error) {
	c.seen.Bytes.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}
