package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cipp-ninjaone/handler/internal/reply"
)

// Types of entities that this application relates. Source: schema
// NewRelatedItemEntityRequest.
const (
	EntityDevice   = "NODE"
	EntityDocument = "DOCUMENT"
)

// Entity is something that a relation connects: its type and its id within
// the type.
type Entity struct {
	Type string
	ID   int
}

// String returns the form in which errors name an entity, "NODE 7".
func (e Entity) String() string { return fmt.Sprintf("%s %d", e.Type, e.ID) }

// Relation connects two entities. NinjaOne shows it on both; Host is the one under which
// somebody created it. Source: schema RelatedItemPublicApiDTO.
type Relation struct {
	ID      int
	Host    Entity
	Related Entity
	// Creator is the id of the NinjaOne user who made it; 0 when NinjaOne does not say.
	// NinjaOne does not document whether, and to whom, it sets this for relations of an
	// API application.
	Creator int
	Created time.Time // UTC; zero when NinjaOne does not say
}

// RelationsOfType returns the relations that all entities of a type host, in all
// organizations, for which keep returns true. It calls GET
// /v2/related-items/with-entity-type/{entityType}, which has no pages. It decodes the
// answer as it arrives, and drops at once what keep does not want. When it repeats the
// call, keep sees the relations again. It leaves out attachments and secrets, which are
// not relations. Like every list, it fails as a whole.
func (c *Client) RelationsOfType(ctx context.Context, entityType string, keep func(Relation) bool) ([]Relation, error) {
	return c.relations(ctx, "/v2/related-items/with-entity-type/{entityType}", []any{entityType}, nil, func(r Relation) bool {
		return r.Host.Type == entityType && keep(r) // whatever else NinjaOne answers
	})
}

// RelationsOf returns the relations of one entity, those that it hosts and those
// that others host. It calls
// GET /v2/related-items/with-entity/{entityType}/{entityId}.
func (c *Client) RelationsOf(ctx context.Context, e Entity) ([]Relation, error) {
	return c.relations(ctx, "/v2/related-items/with-entity/{entityType}/{entityId}", []any{e.Type, e.ID},
		[]param{{"scope", "ALL"}}, func(r Relation) bool { return r.Host == e || r.Related == e })
}

func (c *Client) relations(ctx context.Context, template string, args []any, query []param, keep func(Relation) bool) ([]Relation, error) {
	r := newRequest(http.MethodGet, template, args, query, nil)
	r.timeout, r.limits = documentsTimeout, reply.Stream
	return fetchKept(ctx, c, r, func(w wireRelation) (Relation, bool, error) {
		relation, is := w.relation()
		if is && relation.ID <= 0 {
			return Relation{}, false, errors.New("the answer has a relation without an id")
		}
		return relation, is && keep(relation), nil
	})
}

// AddRelations relates entities to a host, and returns the new relations. It
// calls POST /v2/related-items/entity/{entityType}/{entityId}/relations, once
// unless NinjaOne has certainly done nothing.
//
// NinjaOne does not document what happens to a pair that is related already. It may
// become a second relation, an error, or nothing. So the caller lists the relations first
// and sends only what is missing. Nor does NinjaOne document that a refused call wrote
// nothing. After ErrBatchRefused, as after ErrOutcomeUnknown, list again before you send
// any of it again.
func (c *Client) AddRelations(ctx context.Context, host Entity, related []Entity) ([]Relation, error) {
	if len(related) == 0 {
		return nil, nil
	}
	type item struct {
		Type string `json:"relEntityType"`
		ID   int    `json:"relEntityId"`
	}
	body := make([]item, len(related))
	for i, e := range related {
		body[i] = item(e)
	}
	r := newRequest(http.MethodPost, "/v2/related-items/entity/{entityType}/{entityId}/relations", []any{host.Type, host.ID}, nil, body)
	r.timeout = batchTimeout
	relations, err := fetch(ctx, c, r, decodeSelected(func(w wireRelation) (Relation, bool, error) {
		relation, is := w.relation()
		return relation, is && relation.ID > 0 && relation.Host == host && slices.Contains(related, relation.Related), nil
	}))
	return relations, classifyWrite(r, err)
}

// DeleteRelation removes one relation. It calls
// DELETE /v2/related-items/{relatedItemId}, which may be repeated; a relation
// that is gone already is not an error.
func (c *Client) DeleteRelation(ctx context.Context, id int) error {
	if id <= 0 {
		return fmt.Errorf("relation %d has no id that NinjaOne gave, and was not deleted", id)
	}
	r := newRequest(http.MethodDelete, "/v2/related-items/{relatedItemId}", []any{id}, nil, nil)
	if err := c.do(ctx, r, nil); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

type wireRelation struct {
	ID          int     `json:"id"`
	Type        string  `json:"type"` // ENTITY, or VALUE for attachments and secrets
	EntityType  string  `json:"entityType"`
	EntityID    int     `json:"entityId"`
	RelatedType string  `json:"relEntityType"`
	RelatedID   int     `json:"relEntityId"`
	CreatedBy   int     `json:"createdByAppUserId"`
	CreateTime  float64 `json:"createTime"`
}

// relation returns the relation, and whether it is one between two entities.
func (w wireRelation) relation() (Relation, bool) {
	r := Relation{ID: w.ID, Host: Entity{w.EntityType, w.EntityID}, Related: Entity{w.RelatedType, w.RelatedID}, Creator: w.CreatedBy, Created: epoch(w.CreateTime)}
	return r, w.Type != "VALUE" && w.EntityID > 0 && w.RelatedID > 0
}
