package reply

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"cipp-ninjaone/handler/internal/reply/replytest"
)

// TestSteady has a server send in drops: what keeps coming passes however long
// it takes, and what does not is given up soon.
func TestSteady(t *testing.T) {
	megabyte := bytes.Repeat([]byte("a"), 1<<20)
	for name, tt := range map[string]struct {
		steady  Steady
		body    []byte
		drop    int
		every   time.Duration
		endless bool
		want    error
		most    time.Duration
	}{
		"a byte a second":             {Steady{}, []byte(" "), 1, time.Second, true, ErrSlow, patience + time.Second},
		"just too little":             {Steady{}, megabyte, floor * 9 / 10, time.Second, true, ErrSlow, 5*time.Minute + time.Second},
		"nothing more":                {Steady{}, megabyte, 1, 24 * time.Hour, true, ErrStopped, patience},
		"for longer than is allowed":  {Steady{Whole: 5 * time.Minute}, megabyte, 2000, time.Second, true, ErrSlow, 5 * time.Minute},
		"a megabyte over a slow line": {Steady{Whole: 10 * time.Minute}, megabyte, 2000, time.Second, false, nil, 10 * time.Minute},
		"a megabyte with long pauses": {Steady{}, megabyte, 64 << 10, patience - time.Second, false, nil, 10 * time.Minute},
		"a megabyte at once":          {Steady{}, megabyte, 1 << 20, 0, false, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steady := tt.steady
				steady.Next = replytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					replytest.Trickle(w, r, tt.body, tt.drop, tt.every, tt.endless)
				}))
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://service.example", nil)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				res, err := steady.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				if took := time.Since(began); !errors.Is(err, tt.want) || took > tt.most {
					t.Errorf("got %v after %s", err, took)
				}
				if tt.want == ErrSlow && errors.Is(err, ErrStopped) {
					t.Error("what was slow was said to have stopped")
				}
				if tt.want == nil && !bytes.Equal(got, tt.body) {
					t.Errorf("%d of %d bytes arrived", len(got), len(tt.body))
				}
				_ = res.Body.Close()
			})
		})
	}
}

// TestSteadyHeaders has a server send its headers in drops: however long it
// thought, they have to come soon once they began.
func TestSteadyHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		thinks time.Duration
		want   error
		most   time.Duration
	}{"for ever": {time.Minute, ErrSlow, time.Minute + patience}, "at last": {time.Minute, nil, time.Minute + patience/2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steady := &Steady{Next: replytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					left := make(chan struct{})
					go func() {
						defer close(left)
						_, _ = io.Copy(io.Discard, conn)
					}()
					<-time.After(tt.thinks)
					_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: ")
					for began := time.Now(); err == nil && (tt.want != nil || time.Since(began) < patience/2); {
						select {
						case <-left:
							return
						case <-time.After(time.Second):
							_, err = io.WriteString(conn, "a")
						}
					}
					_, _ = io.WriteString(conn, "\r\nContent-Length: 4\r\n\r\ndone")
				}))}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://service.example", nil)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				res, err := steady.RoundTrip(req)
				if took := time.Since(began); !errors.Is(err, tt.want) || took > tt.most {
					t.Errorf("got %v after %s", err, took)
				}
				if err == nil {
					if got, err := io.ReadAll(res.Body); err != nil || string(got) != "done" {
						t.Errorf("got %q, %v", got, err)
					}
					_ = res.Body.Close()
				}
			})
		})
	}
}

// TestSteadyBegin has a server think before it answers, and a caller before it
// reads on: only the former counts.
func TestSteadyBegin(t *testing.T) {
	for name, tt := range map[string]struct {
		thinks time.Duration
		want   error
	}{"long": {59 * time.Second, nil}, "too long": {61 * time.Second, ErrStopped}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steady := &Steady{Begin: time.Minute, Next: replytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(tt.thinks):
						_, _ = io.WriteString(w, "done")
					case <-r.Context().Done():
					}
				}))}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://service.example", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := steady.RoundTrip(req)
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %v", err)
				}
				if err != nil {
					return
				}
				<-time.After(time.Hour)
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != "done" {
					t.Errorf("got %q, %v", got, err)
				}
				_ = res.Body.Close()
			})
		})
	}
}
