package ninjasim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// documentation is the part of the state that belongs to NinjaOne Documentation, and the relations.
type documentation struct {
	off        bool
	behaviour  DocumentationBehaviour
	templates  map[int]Template
	documents  map[int]storedDocument
	relations  map[int]Relation
	changes    []DocumentWrite
	lastIDs    map[string]int // by kind: template, field, document, relation
	createdFor time.Time      // answered as every template's creation
}

func newDocumentation() documentation {
	return documentation{
		templates: map[int]Template{}, documents: map[int]storedDocument{}, relations: map[int]Relation{},
		lastIDs:    map[string]int{"template": 100, "field": 1000, "document": 10_000, "relation": 50_000},
		createdFor: time.Date(2025, 3, 4, 8, 0, 0, 250_000_000, time.UTC),
	}
}

// nextID gives an id that was never used, or notes one that the caller chose.
func (d *documentation) nextID(kind string, chosen int) int {
	if chosen != 0 {
		d.lastIDs[kind] = max(d.lastIDs[kind], chosen)
		return chosen
	}
	d.lastIDs[kind]++
	return d.lastIDs[kind]
}

// ExistingRelation is what becomes of a pair that is related already and is posted again.
type ExistingRelation string

// What NinjaOne does is not documented; a client has to be right with each.
const (
	RelationRefused    ExistingRelation = "error" // the whole call
	RelationDuplicated ExistingRelation = "duplicate"
	RelationIgnored    ExistingRelation = "ignored" // and answered as it is
)

// Makers says of whom NinjaOne names the maker of a relation, which is not documented either.
type Makers string

// MakersUnsaid names nobody, MakersSaid everybody, and MakersOfUsers people but not API applications.
const (
	MakersUnsaid  Makers = ""
	MakersSaid    Makers = "everybody"
	MakersOfUsers Makers = "users"
)

// DocumentationBehaviour is what NinjaOne leaves open, and what an administrator would have to work
// at to meet. The zero value has no limits and does not list archived documents. It refuses a
// relation that exists and a name that another document has. It names no relation's maker.
type DocumentationBehaviour struct {
	// MaxBatch is the largest number of documents in a call, answered with 400 beyond; no limit when zero.
	MaxBatch int
	// MaxBytes is the largest body of a call that writes documents, answered with 413 beyond; no limit when zero.
	MaxBytes int
	// ExistingRelation is RelationRefused when empty.
	ExistingRelation ExistingRelation
	// ListArchived shows archived documents in lists, where nothing tells them from others.
	ListArchived bool
	// Unlisted is a document that is there, and that lists lack.
	Unlisted int
	// Makers is whom createdByAppUserId is answered of.
	Makers Makers
	// DuplicateNames takes a second document of the same name, template and organization, which is refused otherwise.
	DuplicateNames bool
	// ArchivedNames has archived documents hold their names; otherwise archiving frees them.
	ArchivedNames bool
	// LooseNames takes names for the same that differ only in case or in the space around them.
	LooseNames bool
	// RestoreLive answers the restoring of a document that is not archived as done, and changes nothing.
	RestoreLive bool
}

// SetDocumentationBehaviour replaces the behaviour.
func (s *Server) SetDocumentationBehaviour(b DocumentationBehaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documentation.behaviour = b
}

// SetDocumentation gives the instance NinjaOne Documentation, which it has to begin with, or takes
// it away. Without it the instance answers all calls about templates and documents with 403.
func (s *Server) SetDocumentation(enabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documentation.off = !enabled
}

// ofDocumentation reports whether a call is about templates or documents.
func ofDocumentation(path string) bool {
	return strings.HasPrefix(path, "/v2/document-templates") || strings.HasPrefix(path, "/v2/organization/document")
}

// invalid is the refusal of input that may be wrong for the instance as it is. Index is the element of the body it is about.
func (s *Server) invalid(c *call, index int, code, reason string) *reply {
	return new(s.refusal(c, validationFailure(http.StatusBadRequest, code, map[string]any{"index": index, "reason": reason})))
}

// DocumentWrite is one accepted change of a template, a document or a relation through the API.
type DocumentWrite struct {
	Time   time.Time
	Action string // template created, template updated, created, updated, archived, restored, related, unrelated
	ID     int    // of the template, document or relation
	Fields []string
	// Repeated are those of Fields that had the very same value before.
	Repeated []string
}

// DocumentWrites are the accepted changes since the counters were reset, in order of time.
func (s *Server) DocumentWrites() []DocumentWrite {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.documentation.changes)
}

func (s *Server) changed(action string, id int, fields ...string) {
	slices.Sort(fields)
	s.documentation.changes = append(s.documentation.changes, DocumentWrite{Time: s.config.Now(), Action: action, ID: id, Fields: fields})
}

// Document is a document as people see it.
type Document struct {
	ID, OrganizationID, TemplateID int // AddDocument gives an id when it is zero
	Name                           string
	Archived                       bool
	UpdatedAt                      time.Time
	// Fields are values as they were sent, by field name: text, or markup of a WYSIWYG field.
	Fields map[string]string
}

// storedDocument is a document at rest. Its values are never changed in place.
type storedDocument struct {
	Document
	values map[string]*storedValue
}

// AddDocument adds a document as a technician or another program would, past all rules, and returns its id.
func (s *Server) AddDocument(d Document) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ID = s.documentation.nextID("document", d.ID)
	if d.UpdatedAt.IsZero() {
		d.UpdatedAt = s.config.Now()
	}
	stored := storedDocument{Document: d, values: map[string]*storedValue{}}
	for name, value := range d.Fields {
		field, _ := s.documentation.templates[d.TemplateID].field(name)
		stored.values[name] = newStoredValue(value, value, field.Type == "WYSIWYG", "USER", d.UpdatedAt)
	}
	stored.Fields = nil
	s.documentation.documents[d.ID] = stored
	return d.ID
}

// ChangeDocument changes name, description, archived and values of a document as a technician would. Fields hold what the
// document has then.
func (s *Server) ChangeDocument(id int, change func(*Document)) {
	for _, d := range s.documents(func(d storedDocument) bool { return d.ID == id }) {
		change(&d)
		d.ID, d.UpdatedAt = id, time.Time{}
		s.AddDocument(d)
	}
}

// RemoveDocument deletes a document, with its relations, as a technician would.
func (s *Server) RemoveDocument(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeDocument(id)
}

func (s *Server) removeDocument(id int) {
	delete(s.documentation.documents, id)
	s.removeRelationsOf("DOCUMENT", id)
}

// Documents are the documents of an organization in ascending order of id, archived ones included.
func (s *Server) Documents(organizationID int) []Document {
	return s.documents(func(d storedDocument) bool { return d.OrganizationID == organizationID })
}

func (s *Server) documents(wanted func(storedDocument) bool) []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Document
	for _, stored := range inOrder(s.documentation.documents, wanted) {
		d := stored.Document
		d.Fields = map[string]string{}
		for name, value := range stored.values {
			d.Fields[name] = value.sent
		}
		list = append(list, d)
	}
	return list
}

// DocumentField is the value of a document's field; false when it has none.
func (s *Server) DocumentField(documentID int, name string) (FieldValue, bool) {
	s.mu.Lock()
	value, ok := s.documentation.documents[documentID].values[name]
	s.mu.Unlock()
	if !ok {
		return FieldValue{}, false
	}
	return value.look(), true
}

// AddTemplate adds a template as a technician or another program would, or replaces the one with that id. Ids that are zero
// are given; the template's is returned. Names may be given twice.
func (s *Server) AddTemplate(t Template) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addTemplate(t)
}

func (s *Server) addTemplate(t Template) int {
	t.ID = s.documentation.nextID("template", t.ID)
	t.Items = slices.Clone(t.Items)
	for i, item := range t.Items {
		if item.ElementType != "" {
			continue
		}
		item.ID = s.documentation.nextID("field", item.ID)
		item.Label = cmp.Or(item.Label, item.Name)
		item.Type = cmp.Or(item.Type, "TEXT")
		item.APIPermission = cmp.Or(item.APIPermission, "NONE")
		item.ScriptPermission = cmp.Or(item.ScriptPermission, "NONE")
		item.TechnicianPermission = cmp.Or(item.TechnicianPermission, "NONE")
		t.Items[i] = item
	}
	s.documentation.templates[t.ID] = t
	return t.ID
}

// RemoveTemplate deletes a template and its documents.
func (s *Server) RemoveTemplate(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.documentation.templates, id)
	for document, d := range s.documentation.documents {
		if d.TemplateID == id {
			delete(s.documentation.documents, document)
		}
	}
}

// ArchiveTemplate archives a template, or restores it, as a technician would.
func (s *Server) ArchiveTemplate(id int, archived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.documentation.templates[id]
	t.Archived = archived
	s.documentation.templates[id] = t
}

// RenameTemplate gives a template another name, as a technician would.
func (s *Server) RenameTemplate(id int, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.documentation.templates[id]
	t.Name = name
	s.documentation.templates[id] = t
}

// Templates are all templates in ascending order of id.
func (s *Server) Templates() []Template {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inOrder(s.documentation.templates, func(Template) bool { return true })
}

// dropValues deletes the values of fields that a template no longer has.
func (s *Server) dropValues(t Template) {
	for id, d := range s.documentation.documents {
		if d.TemplateID != t.ID {
			continue
		}
		d.values = maps.Clone(d.values)
		maps.DeleteFunc(d.values, func(name string, _ *storedValue) bool {
			_, has := t.field(name)
			return !has
		})
		s.documentation.documents[id] = d
	}
}
