package ninjaone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/reply"
)

const (
	documentsTimeout = 10 * time.Minute  // one attempt at the list of an organization's documents, HTML and all
	batchTimeout     = 300 * time.Second // one attempt at writing a batch, which CIPP has seen take minutes
)

// Document is a document of an organization, without its HTML. Source: schemas
// ClientDocumentWithAttributeValuesPublicApiDTO and, in the answer to an
// update, ClientDocumentWithUpdatedAttributeValuesPublicApiDTO.
type Document struct {
	ID   int
	Name string
	// Archived is true only when NinjaOne says so. Its schema has no such member, nor
	// does NinjaOne document whether lists hold archived documents.
	Archived bool
	// Fields holds the text of those values that were asked for. A field
	// without a value is absent. It is not a map, because an organization may have
	// many tens of thousands of documents.
	Fields []FieldText
}

// FieldText is the text of one field's value.
type FieldText struct{ Name, Text string }

// Text returns the text of a field's value; "" when it has none, or was not
// asked for.
func (d Document) Text(field string) string {
	for _, f := range d.Fields {
		if f.Name == field {
			return f.Text
		}
	}
	return ""
}

// NewDocument is a document to be created. Source: schema
// ClientDocumentWithAttributeValuesBulkCreatePublicApiRequest.
type NewDocument struct {
	OrganizationID int    `json:"organizationId"`
	TemplateID     int    `json:"documentTemplateId"`
	Name           string `json:"documentName"`
	Fields         Fields `json:"fields,omitempty"`
}

// DocumentUpdate is a change of a document. Source: schema
// ClientDocumentWithAttributeValuesBulkUpdatePublicApiRequest.
type DocumentUpdate struct {
	ID     int    `json:"documentId"`
	Name   string `json:"documentName,omitempty"` // "" leaves the name
	Fields Fields `json:"fields,omitempty"`       // only those that change
}

// DocumentQuery says which documents to read, and what of them.
type DocumentQuery struct {
	OrganizationID int
	TemplateIDs    []int
	Fields         []string // names of the fields whose text is wanted
	// AllTemplates leaves the filter by template to the client.
	AllTemplates bool
	// Odd, if set, learns how many documents of other organizations or templates NinjaOne
	// returned against the filter.
	Odd func(n int)
}

// Documents returns the documents of an organization that were made from the templates.
// It calls GET /v2/organization/documents, whose one answer carries every value of every
// document. It decodes the answer as it arrives, and keeps only the text that the query
// wants. It fails as a whole, because a sync would create again a document that the list
// lacks.
func (c *Client) Documents(ctx context.Context, q DocumentQuery) ([]Document, error) {
	if len(q.TemplateIDs) == 0 {
		return nil, nil
	}
	ids := make([]string, len(q.TemplateIDs))
	for i, id := range q.TemplateIDs {
		ids[i] = strconv.Itoa(id)
	}
	filters := []param{{"organizationIds", strconv.Itoa(q.OrganizationID)}}
	if !q.AllTemplates {
		filters = append(filters, param{"templateIds", strings.Join(ids, ",")})
	}
	r := newRequest(http.MethodGet, "/v2/organization/documents", nil, filters, nil)
	r.timeout, r.limits = documentsTimeout, reply.Stream
	keep := keepFields(q.Fields)
	odd := map[int]bool{}
	documents, err := fetchKept(ctx, c, r, func(w wireDocument) (Document, bool, error) {
		if w.ID <= 0 || w.OrganizationID <= 0 || w.TemplateID <= 0 {
			return Document{}, false, errors.New("the answer has a document without its own, its organization's or its template's id")
		}
		wanted := w.OrganizationID == q.OrganizationID && slices.Contains(q.TemplateIDs, w.TemplateID)
		if !wanted {
			if w.OrganizationID != q.OrganizationID || !q.AllTemplates {
				odd[w.ID] = true
			}
			return Document{}, false, nil
		}
		return w.document(keep), true, nil
	})
	if err == nil && len(odd) > 0 && q.Odd != nil {
		q.Odd(len(odd))
	}
	return documents, err
}

// CreateDocuments creates documents, all of them or none. It returns them as NinjaOne has
// them, in any order, with the TEXT fields that it sent. It calls POST
// /v2/organization/documents. NinjaOne does not recognise a repetition, so the client
// repeats it only where NinjaOne certainly did nothing. Errors: ErrBatchRefused,
// ErrOutcomeUnknown, and others after which nothing was written. The caller limits the
// batch (see Batches).
func (c *Client) CreateDocuments(ctx context.Context, batch []NewDocument) ([]Document, error) {
	return writeDocuments(ctx, c, http.MethodPost, batch, func(d NewDocument) (string, Fields) {
		return fmt.Sprintf("document %q", d.Name), d.Fields
	})
}

// UpdateDocuments changes documents, all of them or none. It returns them in any order,
// with the TEXT fields that it sent. A document that is missing did not change. It calls
// PATCH /v2/organization/documents, which touches only what is named and may be repeated.
// Errors are those of CreateDocuments; a single document's ErrBatchRefused is also
// ErrNotFound when there is no such document.
func (c *Client) UpdateDocuments(ctx context.Context, batch []DocumentUpdate) ([]Document, error) {
	return writeDocuments(ctx, c, http.MethodPatch, batch, func(d DocumentUpdate) (string, Fields) {
		return fmt.Sprintf("document %d", d.ID), d.Fields
	})
}

func writeDocuments[T any](ctx context.Context, c *Client, method string, batch []T, describe func(T) (string, Fields)) ([]Document, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	var texts []string
	for _, d := range batch {
		what, fields := describe(d)
		for name, value := range fields {
			if err := value.check(); err != nil {
				return nil, fmt.Errorf("%w: %s, field %q: %w", ErrBatchRefused, what, name, err)
			}
			if value.kind == kindText {
				texts = append(texts, name)
			}
		}
	}
	r := newRequest(method, "/v2/organization/documents", nil, nil, batch)
	r.timeout, r.splits = batchTimeout, len(batch) > 1
	keep := keepFields(texts)
	documents, err := fetch(ctx, c, r, decodeSelected(func(w wireDocument) (Document, bool, error) {
		if w.ID <= 0 {
			return Document{}, false, errors.New("the answer has a document without an id")
		}
		return w.document(keep), true, nil
	}))
	if err != nil {
		return nil, classifyWrite(r, err)
	}
	if method == http.MethodPost && len(documents) != len(batch) {
		return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown,
			r.wrap(fmt.Errorf("%d documents were sent and %d came back", len(batch), len(documents))))
	}
	return documents, nil
}

// ArchiveDocuments archives documents. It calls POST /v2/organization/documents/archive,
// and POST /v2/organization/document/{id}/archive for a single one. It splits a refused
// batch, down to single documents. The instance may lack the first path, or a document
// may be gone. Both calls may be repeated. It returns the refused documents' reasons by
// document id. After a refusal the caller should read the documents again. Other errors
// are those of SplitRefused.
func (c *Client) ArchiveDocuments(ctx context.Context, ids []int) (refused map[int]error, err error) {
	return c.changeDocuments(ctx, "archive", ids)
}

// RestoreDocuments brings archived documents back. It calls POST
// /v2/organization/documents/restore or POST /v2/organization/document/{id}/restore, and
// behaves like ArchiveDocuments. NinjaOne refuses a deleted document with ErrNotFound.
func (c *Client) RestoreDocuments(ctx context.Context, ids []int) (refused map[int]error, err error) {
	return c.changeDocuments(ctx, "restore", ids)
}

func (c *Client) changeDocuments(ctx context.Context, verb string, ids []int) (map[int]error, error) {
	refused := map[int]error{}
	var batchPath struct{ works, missing, oneWorked bool }
	send := func(ctx context.Context, ids []int) ([]struct{}, error) {
		template, args, body := "/v2/organization/documents/"+verb, []any(nil), any(ids)
		if len(ids) == 1 {
			template, args, body = "/v2/organization/document/{id}/"+verb, []any{ids[0]}, nil
		} else if batchPath.missing && batchPath.oneWorked && !batchPath.works {
			return nil, fmt.Errorf("%w: this instance takes documents one by one", ErrBatchRefused)
		}
		r := newRequest(http.MethodPost, template, args, nil, body)
		r.safe, r.timeout, r.splits = true, batchTimeout, len(ids) > 1
		if err := c.do(ctx, r, nil); err != nil {
			err = classifyWrite(r, err)
			if len(ids) > 1 && isMissing(err) {
				batchPath.missing = true
				if !errors.Is(err, ErrBatchRefused) {
					err = fmt.Errorf("%w: %w", ErrBatchRefused, err)
				}
			}
			return nil, err
		}
		if len(ids) > 1 {
			batchPath.works = true
		} else {
			batchPath.oneWorked = true
		}
		return nil, nil
	}
	unique := slices.Compact(slices.Sorted(slices.Values(ids)))
	for chunk := range slices.Chunk(unique, MaxBatchDocuments) {
		_, byIndex, err := SplitRefused(ctx, chunk, send)
		for i, reason := range byIndex {
			refused[chunk[i]] = reason
		}
		if err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// isMissing reports whether this instance may lack the path. The answer is 405, or 404
// from the application or a web server before it.
func isMissing(err error) bool {
	var answer *APIError
	return errors.As(err, &answer) && answer.Path != tokenPath &&
		(answer.Status == http.StatusNotFound || answer.Status == http.StatusMethodNotAllowed)
}

// wireDocument is a document as NinjaOne sends it: with fields in lists and
// after creations, with updatedFields after updates.
type wireDocument struct {
	ID             int                   `json:"documentId"`
	Name           string                `json:"documentName"`
	OrganizationID int                   `json:"organizationId"`
	TemplateID     int                   `json:"documentTemplateId"`
	Archived       json.RawMessage       `json:"archived"` // not in the schema
	Fields         reply.List[wireField] `json:"fields"`
	UpdatedFields  reply.List[wireField] `json:"updatedFields"`
}

type wireField struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// text returns the text of the value: a string, or for WYSIWYG an object with text and
// html.
func (f wireField) text() string {
	var w struct{ Text json.RawMessage }
	if json.Unmarshal(f.Value, &w) == nil && w.Text != nil {
		return scalar(w.Text)
	}
	return scalar(f.Value)
}

// kept holds the fields whose text Documents keeps, by name. Each has the text met last,
// which the next document often has, too.
type kept map[string]*FieldText

func keepFields(names []string) kept {
	keep := kept{}
	for _, name := range names {
		keep[name] = &FieldText{Name: name}
	}
	return keep
}

func (w wireDocument) document(keep kept) Document {
	d := Document{
		ID: w.ID, Name: w.Name, Archived: string(w.Archived) == "true",
		Fields: make([]FieldText, 0, len(keep)),
	}
	for _, fields := range []reply.List[wireField]{w.Fields, w.UpdatedFields} {
		for _, f := range fields {
			last := keep[f.Name]
			if last == nil {
				continue // most of an answer is HTML that nobody looks at
			}
			text := f.text()
			if text == "" {
				continue
			}
			if last.Text != text {
				last.Text = text
			}
			d.Fields = append(d.Fields, *last)
		}
	}
	return d
}
