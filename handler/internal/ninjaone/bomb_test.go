package ninjaone

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/reply"
)

// TestBombs has NinjaOne answer each list with a small compressed answer that
// unpacks to gigabytes, to four readers at once. Each list is an error that says
// so, is asked for once, and the process stays small.
func TestBombs(t *testing.T) {
	bombs := map[string][2]string{
		"one string":     {`[{"id":7,"documentId":7,"name":"`, "x"},
		"nested":         {`[{"id":7,"a":`, `{"a":`},
		"tiny documents": {`[`, `{"documentId":7,"organizationId":3,"documentTemplateId":4},`},
		"one record":     {`[{`, `"documentName":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",`},
	}
	reads := map[string]func(*Client) error{
		"devices": func(c *Client) error { _, _, err := c.Devices(t.Context(), 3); return err },
		"fields":  func(c *Client) error { _, err := c.CustomFields(t.Context()); return err },
		"documents": func(c *Client) error {
			_, err := c.Documents(t.Context(), DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}})
			return err
		},
		"relations": func(c *Client) error {
			_, err := c.RelationsOfType(t.Context(), EntityDevice, func(Relation) bool { return true })
			return err
		},
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			more := strings.Repeat(bomb[1], (1<<20)/len(bomb[1]))
			fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
				_, err := io.WriteString(z, bomb[0])
				for range 4 << 10 {
					if err != nil {
						return
					}
					_, err = io.WriteString(z, more)
				}
			})
			c := serve(t, fake)
			var all sync.WaitGroup
			for what, read := range reads {
				all.Go(func() {
					if err := read(c); !errors.Is(err, reply.ErrTooLarge) || strings.Contains(err.Error(), "is not JSON") {
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			all.Wait()
			if n := len(fake.made()); n != len(reads) {
				t.Errorf("%d calls for %d lists", n, len(reads))
			}
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("the process took %d MiB at most", m.Sys>>20)
	if m.Sys > 600<<20 {
		t.Errorf("the process took %d MiB", m.Sys>>20)
	}
}

// TestTrickle has NinjaOne send one byte a second for ever: each attempt ends by
// its own time.
func TestTrickle(t *testing.T) {
	simulate(t, func(t *testing.T) {
		attempts := 0
		c := inProcess(t, nil, func(cfg *Config) {
			cfg.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
				res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}
				if strings.HasSuffix(req.URL.Path, tokenPath) {
					res.Body = io.NopCloser(strings.NewReader(`{"access_token":"t","token_type":"Bearer","expires_in":3600}`))
					return res, nil
				}
				attempts++
				r, w := io.Pipe()
				res.Body = r
				go func() {
					_, err := io.WriteString(w, "[")
					for err == nil {
						if err = sleep(req.Context(), time.Second); err == nil {
							_, err = io.WriteString(w, " ")
						}
					}
					_ = w.CloseWithError(err)
				}()
				return res, nil
			})
		})
		began := time.Now()
		_, _, err := c.Devices(t.Context(), 3)
		if took := time.Since(began); err == nil || attempts != maxFailed || took > maxFailed*(pageTimeout+10*time.Second) {
			t.Errorf("%d attempts in %s: %v", attempts, took, err)
		}
	})
}
