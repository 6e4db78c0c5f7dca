package ninjasim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Relation is something attached to an entity: another entity, or a file.
type Relation struct {
	ID int
	// EntityType and EntityID are the host. Types are those of the contract; only NODE, DOCUMENT and ORGANIZATION have
	// entities in this instance.
	EntityType       string
	EntityID         int
	RelatedType      string
	RelatedID        int
	Attachment       string // name of a file, which is then what is attached
	MadeByTechnician bool
	CreatedAt        time.Time // AddRelation gives a time long past when it is zero
}

// The users that relations are answered as made by; see [DocumentationBehaviour.Makers].
const (
	TechnicianID  = 4
	ApplicationID = 9001
)

// AddRelation adds a relation as a technician or another program would, past all rules, and returns its id.
func (s *Server) AddRelation(r Relation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ID = s.documentation.nextID("relation", r.ID)
	if r.Attachment != "" {
		r.RelatedType = "ATTACHMENT"
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = s.documentation.createdFor
	}
	s.documentation.relations[r.ID] = r
	return r.ID
}

// RemoveRelation deletes a relation as a technician would.
func (s *Server) RemoveRelation(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documentation.relations, id)
}

// Relations are all relations in ascending order of id.
func (s *Server) Relations() []Relation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inOrder(s.documentation.relations, func(Relation) bool { return true })
}

// removeRelationsOf deletes what a deleted entity was related to.
func (s *Server) removeRelationsOf(entityType string, id int) {
	maps.DeleteFunc(s.documentation.relations, func(_ int, r Relation) bool {
		return r.EntityType == entityType && r.EntityID == id || r.RelatedType == entityType && r.RelatedID == id && r.Attachment == ""
	})
}

// entity is the name of an entity, and whether a relation can be made with it.
func (s *Server) entity(entityType string, id int) (name string, exists bool) {
	switch entityType {
	case "NODE":
		device, ok := s.devices[id]
		return device.SystemName, ok
	case "DOCUMENT":
		document, ok := s.documentation.documents[id]
		return document.Name, ok && !document.Archived
	case "ORGANIZATION":
		organization, ok := s.organizations[id]
		return organization.Name, ok
	}
	return "", false
}

// described is an entity as a relation shows it.
func (s *Server) described(entityType string, id int) map[string]any {
	name, _ := s.entity(entityType, id)
	return map[string]any{"id": id, "name": name}
}

func (s *Server) exists(entityType string, id int) bool {
	_, exists := s.entity(entityType, id)
	return exists
}

func (s *Server) describeRelation(r Relation) map[string]any {
	created := s.epoch(r.CreatedAt)
	body := map[string]any{
		"id": r.ID, "type": "ENTITY", "entityType": r.EntityType, "entityId": r.EntityID, "relEntityType": r.RelatedType,
		"entity": s.described(r.EntityType, r.EntityID), "createTime": created, "updateTime": created,
	}
	switch makers := s.documentation.behaviour.Makers; {
	case r.MadeByTechnician && makers != MakersUnsaid:
		body["createdByAppUserId"] = TechnicianID
	case makers == MakersSaid:
		body["createdByAppUserId"] = ApplicationID
	}
	if r.Attachment != "" {
		body["type"], body["value"] = "VALUE", map[string]any{"name": r.Attachment}
		return body
	}
	body["relEntityId"] = r.RelatedID
	body["relEntity"] = s.described(r.RelatedType, r.RelatedID)
	return body
}

func (s *Server) answerRelations(wanted func(Relation) bool) reply {
	body := []map[string]any{}
	for _, r := range inOrder(s.documentation.relations, wanted) {
		body = append(body, s.describeRelation(r))
	}
	return answer(body)
}

func (s *Server) listRelationsOfType(c *call) reply {
	return s.answerRelations(func(r Relation) bool { return r.EntityType == c.variables["entityType"] })
}

func (s *Server) listRelationsOf(c *call) reply {
	entityType, id, refused := s.host(c)
	if refused != nil {
		return *refused
	}
	scope := c.query.Get("scope")
	return s.answerRelations(func(r Relation) bool {
		hosts := r.EntityType == entityType && r.EntityID == id
		hosted := r.RelatedType == entityType && r.RelatedID == id && r.Attachment == ""
		return hosts && scope != "HOSTED_BY" || hosted && scope != "HOSTING"
	})
}

// host is the entity that the path of a call names.
func (s *Server) host(c *call) (string, int, *reply) {
	entityType := c.variables["entityType"]
	id, _ := strconv.Atoi(c.variables["entityId"])
	if _, archived := s.documentation.documents[id]; !s.exists(entityType, id) && (entityType != "DOCUMENT" || !archived) {
		return "", 0, new(s.refusal(c, applicationFailure(http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("%s %d does not exist", entityType, id))))
	}
	return entityType, id, nil
}

// createRelations relates all entities of the body to the host, or none.
func (s *Server) createRelations(c *call) reply {
	entityType, id, refused := s.host(c)
	if refused != nil {
		return *refused
	}
	var body []struct {
		RelEntityType string
		RelEntityID   int
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "body cannot be read"}))
	}
	existing := map[Relation]Relation{}
	for _, r := range s.documentation.relations {
		if r.EntityType != entityType || r.EntityID != id {
			continue
		}
		pair := r
		pair.ID, pair.MadeByTechnician, pair.CreatedAt = 0, false, time.Time{}
		existing[pair] = r
	}
	var result []Relation
	for i, w := range body {
		r := Relation{EntityType: entityType, EntityID: id, RelatedType: w.RelEntityType, RelatedID: w.RelEntityID}
		was, related := existing[r]
		switch {
		case !s.exists(entityType, id):
			return *s.invalid(c, i, "invalid_relation", fmt.Sprintf("%s %d is archived", entityType, id))
		case !s.exists(w.RelEntityType, w.RelEntityID):
			return *s.invalid(c, i, "related_entity_not_found", fmt.Sprintf("%s %d does not exist or is archived", w.RelEntityType, w.RelEntityID))
		case r.EntityType == r.RelatedType && r.EntityID == r.RelatedID:
			return *s.invalid(c, i, "invalid_relation", "an entity cannot be related to itself")
		case related && s.documentation.behaviour.ExistingRelation == RelationIgnored:
			if was.ID != 0 {
				result = append(result, was)
			}
			continue // given twice in this call otherwise
		case related && s.documentation.behaviour.ExistingRelation != RelationDuplicated:
			return *s.invalid(c, i, "relation_exists", fmt.Sprintf("%s %d is related already", w.RelEntityType, w.RelEntityID))
		}
		existing[r] = r
		result = append(result, r)
	}
	answered := []map[string]any{}
	for _, r := range result {
		if r.ID == 0 {
			r.ID, r.CreatedAt = s.documentation.nextID("relation", 0), s.config.Now()
			s.documentation.relations[r.ID] = r
			s.changed("related", r.ID)
		}
		answered = append(answered, s.describeRelation(r))
	}
	return answer(answered)
}

func (s *Server) deleteRelation(c *call) reply {
	if _, ok := s.documentation.relations[c.id]; !ok {
		return s.notFound(c, "related item")
	}
	delete(s.documentation.relations, c.id)
	s.changed("unrelated", c.id)
	return reply{status: http.StatusNoContent}
}
