package ninjaone

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadingRelations(t *testing.T) {
	const list = `[{"id":1,"type":"ENTITY","entityType":"NODE","entityId":7,"entity":{"big":["thing"]},"relEntityType":"DOCUMENT","relEntityId":9,"createTime":1790000000.5,"createdByAppUserId":12},
	 {"id":2,"type":"VALUE","entityType":"NODE","entityId":7,"relEntityType":"ATTACHMENT","relEntityId":1,"value":{"name":"a.pdf"}},
	 {"id":3,"entityType":"NODE","entityId":8,"relEntityType":"DOCUMENT","relEntityId":9},
	 {"id":4,"type":"ENTITY","entityType":"NODE","entityId":8,"relEntityType":"SECURE"}]`
	first := Relation{ID: 1, Host: Entity{EntityDevice, 7}, Related: Entity{EntityDocument, 9}, Creator: 12, Created: time.UnixMilli(1790000000500).UTC()}
	everything := list[:len(list)-1] + `,{"id":5,"type":"ENTITY","entityType":"DOCUMENT","entityId":7,"relEntityType":"DOCUMENT","relEntityId":11},
	 {"id":6,"type":"ENTITY","entityType":"ORGANIZATION","entityId":9,"relEntityType":"NODE","relEntityId":9}]`
	third := Relation{ID: 3, Host: Entity{EntityDevice, 8}, Related: Entity{EntityDocument, 9}}
	ofDevice7 := func(r Relation) bool { return r.Host.ID == 7 }
	for _, tt := range []struct {
		name string
		read func(context.Context, *Client) ([]Relation, error)
		call string
		want []Relation
	}{
		{"hosted by a type", func(ctx context.Context, c *Client) ([]Relation, error) {
			return c.RelationsOfType(ctx, EntityDevice, ofDevice7)
		}, "/v2/related-items/with-entity-type/NODE", []Relation{first}},
		{"of one entity", func(ctx context.Context, c *Client) ([]Relation, error) {
			return c.RelationsOf(ctx, Entity{EntityDocument, 9})
		}, "/v2/related-items/with-entity/DOCUMENT/9?scope=ALL", []Relation{first, third}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake(t, status(200, everything)) // no filter applied
			got, err := tt.read(t.Context(), serve(t, fake))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if calls := fake.made(); !slices.Equal(calls, []string{"GET /api" + tt.call}) {
				t.Errorf("calls %q", calls)
			}
		})
	}
}

func TestReadingRelationsFailsAsAWhole(t *testing.T) {
	for _, tt := range []struct{ name, body string }{
		{"null", `null`},
		{"without an id", `[{"type":"ENTITY","entityType":"NODE","entityId":7,"relEntityType":"DOCUMENT","relEntityId":9}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				got, err := inProcess(t, newFake(t, status(200, tt.body))).RelationsOf(t.Context(), Entity{EntityDevice, 7})
				if !errors.Is(err, ErrNotJSON) || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
			})
		})
	}
}

func TestAddRelations(t *testing.T) {
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if body := readBody(t, r); body != `[{"relEntityType":"DOCUMENT","relEntityId":9},{"relEntityType":"DOCUMENT","relEntityId":10}]` {
			t.Errorf("body %s", body)
		}
		answer(w, 200, `[{"id":1,"type":"ENTITY","entityType":"NODE","entityId":7,"relEntityType":"DOCUMENT","relEntityId":9},
			{"id":2,"type":"ENTITY","entityType":"NODE","entityId":8,"relEntityType":"DOCUMENT","relEntityId":10},
			{"id":3,"type":"ENTITY","entityType":"NODE","entityId":7,"relEntityType":"DOCUMENT","relEntityId":11}]`)
	})
	got, err := serve(t, fake).AddRelations(t.Context(), Entity{EntityDevice, 7}, []Entity{{EntityDocument, 9}, {EntityDocument, 10}})
	if want := []Relation{{ID: 1, Host: Entity{EntityDevice, 7}, Related: Entity{EntityDocument, 9}}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if calls := fake.made(); !slices.Equal(calls, []string{"POST /api/v2/related-items/entity/NODE/7/relations"}) {
		t.Errorf("calls %q", calls)
	}
}

func TestDeleteRelation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		id     int
		answer http.HandlerFunc
		want   error
		calls  int
	}{
		{"deleted", 5, func(w http.ResponseWriter, r *http.Request) {
			if len(readBody(t, r)) > 0 {
				t.Error("a DELETE with a body")
			}
			w.WriteHeader(204)
		}, nil, 1},
		{"gone already", 5, status(404, `{"resultCode":"NOT_FOUND"}`), nil, 1},
		{"forbidden", 5, status(403, `{}`), ErrForbidden, 1},
		{"without an id", 0, status(204, ``), errAny, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := newFake(t, tt.answer)
			err := serve(t, fake).DeleteRelation(t.Context(), tt.id)
			if (err != nil) != (tt.want != nil) || tt.want != errAny && !errors.Is(err, tt.want) || len(fake.made()) != tt.calls {
				t.Errorf("got %v after %v", err, fake.made())
			}
			if tt.calls == 1 && fake.made()[0] != "DELETE /api/v2/related-items/5" {
				t.Errorf("calls %q", fake.made())
			}
		})
	}
}
