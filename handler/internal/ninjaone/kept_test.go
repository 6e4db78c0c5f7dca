package ninjaone

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/reply"
)

// TestHeavyLists has NinjaOne answer lists that go on and on, within the bounds of
// a page or of a list without pages, and full of records as large as a record may
// be. Each is given up, where the run keeps much already.
func TestHeavyLists(t *testing.T) {
	for name, tt := range map[string]struct {
		record  string // with its number and a long text
		records int    // of an answer
		size    int    // of the text
		read    func(context.Context, *Client) error
	}{
		"devices": {`{"id":%d,"organizationId":3,"systemName":"%s"}`, pageSize, 20 << 10, func(ctx context.Context, c *Client) error { _, _, err := c.Devices(ctx, 3); return err }},
		"documents": {`{"documentId":%d,"organizationId":3,"documentTemplateId":4,"documentName":"%s"}`, 20, 1900 << 10, func(ctx context.Context, c *Client) error {
			_, err := c.Documents(ctx, DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}})
			return err
		}},
		"relations": {`{"id":%[1]d,"entityType":"NODE","entityId":%[1]d,"relEntityType":"%[2]s","relEntityId":7}`, 20, 1900 << 10, func(ctx context.Context, c *Client) error {
			_, err := c.RelationsOfType(ctx, EntityDevice, func(Relation) bool { return true })
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, long := 0, strings.Repeat("x", tt.size)
			fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
				_, err := io.WriteString(z, "[")
				for i := 0; i < tt.records && err == nil; i++ {
					n++
					_, err = fmt.Fprintf(z, ","[:min(i, 1)]+tt.record, n, long)
				}
				_, _ = io.WriteString(z, "]")
				_ = z.Close()
			})
			ctx, release := reply.Keeping(t.Context())
			defer release()
			for reply.Keep(ctx, 8<<20) == nil { // by other lists of the run
			}
			if err := tt.read(ctx, serve(t, fake)); !errors.Is(err, reply.ErrNoRoom) {
				t.Error(err)
			}
		})
	}
}

// TestPageTooLarge refuses a page that is larger than a page may be, whatever room
// there is for it.
func TestPageTooLarge(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, separator := strings.Repeat("x", 1<<20), "["
		for id := range 33 {
			if _, err := fmt.Fprintf(w, `%s{"id":%d,"organizationId":3,"systemName":"%s"}`, separator, id+1, text); err != nil {
				return
			}
			separator = ","
		}
		_, _ = io.WriteString(w, "]")
	})
	if _, _, err := serve(t, fake).Devices(t.Context(), 3); !errors.Is(err, reply.ErrTooLarge) || errors.Is(err, reply.ErrNoRoom) {
		t.Error(err)
	}
}
