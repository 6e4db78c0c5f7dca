package ninjasim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// listDocuments answers all documents that the filters let through, with every value. There are no pages.
func (s *Server) listDocuments(c *call) reply {
	organizations, err := numberList(c.query.Get("organizationIds"))
	templates, err2 := numberList(c.query.Get("templateIds"))
	if err != nil || err2 != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "ids have to be a comma list of numbers"}))
	}
	list := inOrder(s.documentation.documents, func(d storedDocument) bool {
		return (!d.Archived || s.documentation.behaviour.ListArchived) && d.ID != s.documentation.behaviour.Unlisted &&
			(organizations == nil || slices.Contains(organizations, d.OrganizationID)) &&
			(templates == nil || slices.Contains(templates, d.TemplateID))
	})
	return s.answerDocuments(list, "fields", nil)
}

func numberList(text string) (numbers []int, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// answerDocuments answers a list of documents one after the other. Only the named values of each are answered when some are
// named.
func (s *Server) answerDocuments(list []storedDocument, member string, only []map[string]bool) reply {
	templates := maps.Clone(s.documentation.templates)
	return answer(streamed(func(w io.Writer) {
		separator := "["
		for i, d := range list {
			var names map[string]bool
			if only != nil {
				names = only[i]
			}
			encoded, err := json.Marshal(s.describeDocument(d, templates[d.TemplateID], member, names))
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, separator)
			if _, err := w.Write(encoded); err != nil {
				return
			}
			separator = ","
		}
		if len(list) == 0 {
			_, _ = io.WriteString(w, "[")
		}
		_, _ = io.WriteString(w, "]")
	}))
}

// describeDocument is a document as the API answers it. It reads nothing that the lock guards.
func (s *Server) describeDocument(d storedDocument, t Template, member string, only map[string]bool) map[string]any {
	fields := []map[string]any{}
	for _, item := range t.Items {
		value, has := d.values[item.Name]
		if !has || !item.custom().readable() || only != nil && !only[item.Name] {
			continue
		}
		fields = append(fields, map[string]any{"name": item.Name, "value": s.answered(value), "valueUpdateTime": s.epoch(value.updatedAt)})
	}
	body := map[string]any{
		"documentId": d.ID, "documentName": d.Name, "documentUpdateTime": s.epoch(d.UpdatedAt), "documentTemplateId": d.TemplateID,
		"documentTemplateName": t.Name, "organizationId": d.OrganizationID, member: fields,
	}
	return body
}

// wireDocument is an element of a batch as it comes.
type wireDocument struct {
	DocumentID, DocumentTemplateID, OrganizationID int
	DocumentName                                   *string
	Fields                                         map[string]json.RawMessage
}

// readBatch reads the documents of a call, which the contract has checked, and holds them to the limits.
func (s *Server) readBatch(c *call) ([]wireDocument, *reply) {
	limits := s.documentation.behaviour
	if limits.MaxBytes > 0 && len(c.body) > limits.MaxBytes {
		return nil, new(s.refusal(c, applicationFailure(http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", fmt.Sprintf("%d bytes, of %d allowed", len(c.body), limits.MaxBytes))))
	}
	var batch []wireDocument
	if err := json.Unmarshal(c.body, &batch); err != nil {
		return nil, new(s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "body cannot be read"})))
	}
	if limits.MaxBatch > 0 && len(batch) > limits.MaxBatch {
		return nil, s.invalid(c, limits.MaxBatch, "too_many_documents", fmt.Sprintf("%d documents, of %d allowed", len(batch), limits.MaxBatch))
	}
	return batch, nil
}

// createDocuments creates all documents of the body, or none, and answers them from the last to the first: NinjaOne does
// not promise an order.
func (s *Server) createDocuments(c *call) reply {
	batch, refused := s.readBatch(c)
	if refused != nil {
		return *refused
	}
	now, held := s.config.Now(), s.heldNames()
	var created []storedDocument
	for i, w := range batch {
		t, known := s.documentation.templates[w.DocumentTemplateID]
		_, organization := s.organizations[w.OrganizationID]
		switch {
		case !organization:
			return *s.invalid(c, i, "organization_not_found", fmt.Sprintf("organization %d does not exist", w.OrganizationID))
		case !known || t.Archived:
			return *s.invalid(c, i, "document_template_not_found", fmt.Sprintf("template %d does not exist or is archived", w.DocumentTemplateID))
		case w.DocumentName == nil || *w.DocumentName == "":
			return *s.invalid(c, i, "invalid_document", "a document needs a name")
		}
		d := storedDocument{
			Document: Document{OrganizationID: w.OrganizationID, TemplateID: w.DocumentTemplateID, Name: *w.DocumentName, UpdatedAt: now},
			values:   map[string]*storedValue{},
		}
		if refused := s.setValues(c, i, &d, t, w.Fields); refused != nil {
			return *refused
		}
		for _, item := range t.Items {
			if item.required() && d.values[item.Name] == nil {
				return *s.invalid(c, i, "required_field_missing", "field "+item.Name+" needs a value")
			}
		}
		if refused := s.rename(c, i, held, storedDocument{}, d); refused != nil {
			return *refused
		}
		created = append(created, d)
	}
	for i := range created {
		created[i].ID = s.documentation.nextID("document", 0)
		s.documentation.documents[created[i].ID] = created[i]
		s.changed("created", created[i].ID, slices.Collect(maps.Keys(created[i].values))...)
	}
	slices.Reverse(created)
	return s.answerDocuments(created, "fields", nil)
}

// heldNames are the ids of the documents that hold a name. A template may allow only one document
// in an organization. Then all its documents stand under no name.
type heldNames map[heldName][]int

type heldName struct {
	organization, template int
	name                   string
}

func (s *Server) heldNames() heldNames {
	held := heldNames{}
	for id, d := range s.documentation.documents {
		if key, holds := s.nameOf(d); holds {
			held[key] = append(held[key], id)
		}
	}
	return held
}

// nameOf is the name that a document holds, if it holds any.
func (s *Server) nameOf(d storedDocument) (heldName, bool) {
	b := s.documentation.behaviour
	key := heldName{d.OrganizationID, d.TemplateID, d.Name}
	switch {
	case !s.documentation.templates[d.TemplateID].AllowMultiple:
		key.name = ""
		return key, !d.Archived
	case b.LooseNames:
		key.name = strings.ToLower(strings.TrimSpace(d.Name))
	}
	return key, !b.DuplicateNames && (!d.Archived || b.ArchivedNames)
}

// rename gives a document its name, and takes the one away that it had as before.
func (s *Server) rename(c *call, index int, held heldNames, before, d storedDocument) *reply {
	if key, holds := s.nameOf(before); holds {
		held[key] = slices.DeleteFunc(slices.Clone(held[key]), func(id int) bool { return id == before.ID })
	}
	key, holds := s.nameOf(d)
	switch {
	case !holds:
		return nil
	case len(held[key]) == 0:
	case key.name == "":
		return s.invalid(c, index, "document_exists", "the template allows one document in an organization")
	default:
		return s.invalid(c, index, "document_exists", "there is a document of that name")
	}
	held[key] = append(held[key], d.ID)
	return nil
}

// setValues puts the values of a batch's element into a document that is not stored yet.
func (s *Server) setValues(c *call, index int, d *storedDocument, t Template, fields map[string]json.RawMessage) *reply {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		item, has := t.field(name)
		switch {
		case !has:
			return s.invalid(c, index, "document_field_not_found", "the template has no field "+name)
		case item.APIPermission != "READ_WRITE":
			return s.invalid(c, index, "document_field_not_writable", "field "+name)
		}
		sent, value, err := item.custom().accept(fields[name])
		if err != nil {
			return s.invalid(c, index, "invalid_value", "field "+name+": "+err.Error())
		}
		if value == nil || sent == "" {
			delete(d.values, name)
			if item.required() {
				return s.invalid(c, index, "required_field_missing", "field "+name+" needs a value")
			}
			continue
		}
		d.values[name] = newStoredValue(sent, value, item.Type == "WYSIWYG", "API", d.UpdatedAt)
	}
	return nil
}

// updateDocuments changes all documents of the body, or none, and answers them from the last to the first.
func (s *Server) updateDocuments(c *call) reply {
	batch, refused := s.readBatch(c)
	if refused != nil {
		return *refused
	}
	var updated []storedDocument
	var sent []map[string]bool
	seen, held := map[int]bool{}, s.heldNames()
	for i, w := range batch {
		d, known := s.documentation.documents[w.DocumentID]
		switch {
		case !known:
			return s.refusal(c, applicationFailure(http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("document %d does not exist", w.DocumentID)))
		case seen[w.DocumentID]:
			return *s.invalid(c, i, "invalid_document", fmt.Sprintf("document %d is given twice", w.DocumentID))
		case d.Archived:
			return *s.invalid(c, i, "document_archived", fmt.Sprintf("document %d is archived", w.DocumentID))
		case w.DocumentName != nil && *w.DocumentName == "":
			return *s.invalid(c, i, "invalid_document", "a document needs a name")
		}
		seen[w.DocumentID] = true
		d.UpdatedAt, d.values = s.config.Now(), maps.Clone(d.values)
		if w.DocumentName != nil {
			d.Name = *w.DocumentName
		}
		t := s.documentation.templates[d.TemplateID]
		if refused := s.setValues(c, i, &d, t, w.Fields); refused != nil {
			return *refused
		}
		if before := s.documentation.documents[d.ID]; before.Name != d.Name {
			if refused := s.rename(c, i, held, before, d); refused != nil {
				return *refused
			}
		}
		names := map[string]bool{}
		for name := range w.Fields {
			names[name] = true
		}
		updated, sent = append(updated, d), append(sent, names)
	}
	for i, d := range updated {
		before := s.documentation.documents[d.ID]
		s.documentation.documents[d.ID] = d
		s.changed("updated", d.ID, slices.Collect(maps.Keys(sent[i]))...)
		change := &s.documentation.changes[len(s.documentation.changes)-1]
		for _, name := range change.Fields {
			if was, is := before.values[name], d.values[name]; was == nil && is == nil || was != nil && is != nil && was.sent == is.sent {
				change.Repeated = append(change.Repeated, name)
			}
		}
	}
	slices.Reverse(updated)
	slices.Reverse(sent)
	return s.answerDocuments(updated, "updatedFields", sent)
}

func (s *Server) archiveDocuments(c *call) reply { return s.archiveMany(c, true) }

func (s *Server) restoreDocuments(c *call) reply { return s.archiveMany(c, false) }

func (s *Server) archiveMany(c *call, archive bool) reply {
	var ids []int
	if err := json.Unmarshal(c.body, &ids); err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_request", map[string]any{"reason": "body cannot be read"}))
	}
	list, refused := s.setArchived(c, ids, archive)
	if refused != nil {
		return *refused
	}
	return s.answerDocuments(list, "fields", nil)
}

func (s *Server) archiveDocument(c *call) reply { return s.archiveOne(c, true) }

func (s *Server) restoreDocument(c *call) reply { return s.archiveOne(c, false) }

func (s *Server) archiveOne(c *call, archive bool) reply {
	list, refused := s.setArchived(c, []int{c.id}, archive)
	if refused != nil {
		return *refused
	}
	return answer(s.describeDocument(list[0], s.documentation.templates[list[0].TemplateID], "fields", nil))
}

// setArchived archives or restores all documents, or none. One that is archived already, or restored, is refused, unless
// RestoreLive allows it.
func (s *Server) setArchived(c *call, ids []int, archive bool) ([]storedDocument, *reply) {
	held := s.heldNames()
	var list []storedDocument
	for i, id := range ids {
		d, known := s.documentation.documents[id]
		if !known {
			return nil, new(s.refusal(c, applicationFailure(http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("document %d does not exist", id))))
		}
		if d.Archived == archive && !archive && s.documentation.behaviour.RestoreLive {
			list = append(list, d)
			continue
		}
		if d.Archived == archive {
			return nil, s.invalid(c, i, "invalid_state", fmt.Sprintf("document %d: archived is %v already", id, archive))
		}
		before := d
		d.Archived, d.UpdatedAt = archive, s.config.Now()
		if !archive {
			if refused := s.rename(c, i, held, before, d); refused != nil {
				return nil, refused
			}
		}
		list = append(list, d)
	}
	action := map[bool]string{true: "archived", false: "restored"}[archive]
	for _, d := range list {
		if s.documentation.documents[d.ID].Archived != archive {
			s.documentation.documents[d.ID] = d
			s.changed(action, d.ID)
		}
	}
	return list, nil
}
