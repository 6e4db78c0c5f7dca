package m365

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"log/slog"
)

func TestSKUNames(t *testing.T) {
	const second = "b0000000-0000-4000-8000-00000000000b"
	const plan = "c0000000-0000-4000-8000-00000000000c"
	file := "\ufeffProduct_Display_Name,String_Id,GUID,Service_Plan_Name,Service_Plan_Id,Service_Plans_Included_Friendly_Names\n" +
		"\"Suite, the Big One\",BIG,B0000000-0000-4000-8000-00000000000A,A,C0000000-0000-4000-8000-00000000000C,A plan\n" +
		"Another name,BIG," + skuMain + ",B,,\n" +
		"Café,CAFE," + second + ",C," + plan + ",Another name of it\n" +
		"Nothing,NONE,not-an-id,D,not-an-id,Nothing\n"
	var asked atomic.Int32
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(file))
	}))
	defer server.Close()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	names := NewSKUNames(server.URL, http.DefaultTransport, func() time.Time { return now }, slog.New(slog.DiscardHandler))

	want := map[string]string{skuMain: "Suite, the Big One", second: "Café", plan: "A plan"}
	steps := []struct {
		name   string
		after  time.Duration
		status int
		asked  int32
		want   map[string]string
	}{
		{"down at first", 0, 500, 1, nil},
		{"not asked again at once", time.Minute, 200, 1, nil},
		{"read", skuNamesRetry, 200, 2, want},
		{"kept", 23 * time.Hour, 500, 2, want},
		{"kept although down", 2 * time.Hour, 500, 3, want},
	}
	for _, step := range steps {
		now, status = now.Add(step.after), step.status
		if diff := cmp.Diff(step.want, names.Names(t.Context())); diff != "" || asked.Load() != step.asked {
			t.Errorf("%s: asked %d times, want %d (-want +got):\n%s", step.name, asked.Load(), step.asked, diff)
		}
	}
}

func TestSKUNamesFailures(t *testing.T) {
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	tests := []struct {
		name string
		h    http.HandlerFunc
	}{
		{"HTML", answer("<!doctype html>")},
		{"no rows", answer("Product_Display_Name,GUID\n")},
		{"cut", answer("Product_Display_Name,GUID\nName," + skuMain + "\nNa")},
		{"rows that are larger than all of the file may be", answer("Product_Display_Name,GUID\n" + strings.Repeat(strings.Repeat("N", 1000)+","+skuMain+"\n", 17_000))},
		{"rows for ever", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "Product_Display_Name,GUID\n")
			for row := []byte(strings.Repeat("Name,"+skuMain+"\n", 1000)); ; {
				if _, err := w.Write(row); err != nil {
					return
				}
			}
		}},
		{"a row for ever", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "Product_Display_Name,GUID\nName,"+skuMain+"\n\"")
			for quoted := []byte(strings.Repeat(`x""`, 10_000)); ; {
				if _, err := w.Write(quoted); err != nil {
					return
				}
			}
		}},
		{"redirected to plain http", http.RedirectHandler("http://names.example/f.csv", http.StatusFound).ServeHTTP},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.h)
			defer server.Close()
			if got := NewSKUNames(server.URL, http.DefaultTransport, time.Now, slog.New(slog.DiscardHandler)).Names(t.Context()); got != nil {
				t.Errorf("got %v", got)
			}
		})
	}
	t.Run("plain http elsewhere", func(t *testing.T) {
		never := transportFunc(func(*http.Request) (*http.Response, error) {
			t.Error("asked over plain http")
			return nil, http.ErrNotSupported
		})
		if got := NewSKUNames("http://names.example/f.csv", never, time.Now, slog.New(slog.DiscardHandler)).Names(t.Context()); got != nil {
			t.Errorf("got %v", got)
		}
	})
}
