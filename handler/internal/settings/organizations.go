package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// mapping is CIPP's ExecExtensionMapping: what it does depends on which of the parameters
// List, AddMapping and AutoMapping there is. Reading the lists changes nothing and calls
// NinjaOne, so readers may do it from our own pages. CIPP would move old rows at that
// moment.
func (h *Handlers) mapping(read, work, change func(http.HandlerFunc) http.Handler) http.Handler {
	refuse := read(func(w http.ResponseWriter, _ *http.Request) {
		mappingFailed(w, errors.New("this address takes one of these: List=NinjaOne, List=NinjaOneFields, AddMapping=NinjaOne, AddMapping=NinjaOneFields or AutoMapping=NinjaOne"))
	})
	list := map[string]http.Handler{"ninjaone": work(h.answer(slog.LevelError, "the tenant mapping cannot be listed", h.listOrganizations, mappingFailed)), "ninjaonefields": work(h.answer(slog.LevelError, "the field mapping cannot be listed", h.listFields, mappingFailed))}
	save := func(failed string, do answering) http.Handler {
		return change(only(h.answer(slog.LevelWarn, failed, do, mappingFailed), http.MethodPost))
	}
	add := map[string]http.Handler{"ninjaone": save("the tenant mapping was not saved", h.saveOrganizations), "ninjaonefields": save("the field mapping was not saved", h.saveFields)}
	auto := map[string]http.Handler{"ninjaone": change(h.automap)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var chosen []http.Handler
		for parameter, handlers := range map[string]map[string]http.Handler{"List": list, "AddMapping": add, "AutoMapping": auto} {
			if value := query(r, parameter); value != "" {
				chosen = append(chosen, handlers[strings.ToLower(value)])
			}
		}
		if len(chosen) != 1 || chosen[0] == nil {
			refuse.ServeHTTP(w, r)
			return
		}
		chosen[0].ServeHTTP(w, r)
	})
}

// mappingFailed answers as CIPP's mapping function does: status 500 and bare
// text.
func mappingFailed(w http.ResponseWriter, err error) {
	respondText(w, http.StatusInternalServerError, "Mapping API failed. "+words.End(err.Error()))
}

// mappingSaved begins the answer to a save of either mapping, in CIPP's words.
const mappingSaved = "Successfully edited mapping table."

// company is a NinjaOne organization in CIPP's words.
type company struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// mappingRow is a tenant's mapping as CIPP's page shows it and sends it back.
type mappingRow struct {
	TenantID        string `json:"TenantId"`
	Tenant          string
	TenantDomain    string
	IntegrationID   flexibleText `json:"IntegrationId"`
	IntegrationName flexibleText
	// Listed is ours: when the row was read, and the organization it had then.
	// The page sends it back with the rows that were not changed.
	Listed listedMark `json:",omitzero"`
}

// noCompany is the value of an entry of the list of organizations that is not one. Its
// name, which CIPP's page shows, says why there are none. It cannot be saved.
const noCompany = -1

// listOrganizations lists NinjaOne's organizations by name, and the mapped tenants by id,
// both in CIPP's order. When NinjaOne cannot be read, one entry in place of the
// organizations says why. So does Results, which CIPP's page does not read.
func (h *Handlers) listOrganizations(_ http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	rows, err := h.mappingRows(ctx)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Companies []company
		Mappings  []mappingRow
		Results   string `json:",omitempty"`
	}{Companies: []company{}, Mappings: rows}
	organizations, err := h.Organizations(ctx)
	if err != nil {
		h.Log.WarnContext(ctx, "NinjaOne's organizations cannot be listed", "error", err)
		answer.Results = "Failed to read the organizations from NinjaOne: " + words.End(err.Error())
		answer.Companies = append(answer.Companies, company{answer.Results, noCompany})
	}
	for _, o := range organizations {
		answer.Companies = append(answer.Companies, company{o.Name, o.ID})
	}
	names := collate.New(language.Und) // not safe for concurrent use
	slices.SortStableFunc(answer.Companies, func(a, b company) int {
		return cmp.Or(names.CompareString(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	return answer, nil
}

// Organizations lists NinjaOne's organizations.
func (h *Handlers) Organizations(ctx context.Context) ([]ninjaone.Organization, error) {
	return list(ctx, h, (*ninjaone.Client).Organizations)
}

// CustomFields lists NinjaOne's custom fields.
func (h *Handlers) CustomFields(ctx context.Context) ([]ninjaone.CustomField, error) {
	return list(ctx, h, (*ninjaone.Client).CustomFields)
}

// listTimeout bounds a list read from NinjaOne while a page waits for it.
const listTimeout = 90 * time.Second

// list reads a list from NinjaOne. The error is a sentence for a person.
func list[T any](ctx context.Context, h *Handlers, read func(*ninjaone.Client, context.Context) ([]T, error)) ([]T, error) {
	client, err := h.Client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	all, err := read(client, ctx)
	return all, explain(client, err)
}

// Client returns the client for the present settings.
func (h *Handlers) Client(ctx context.Context) (*ninjaone.Client, error) {
	config, err := h.CIPP.NinjaOneConfig(ctx)
	if err != nil {
		return nil, err
	}
	if config.Instance == "" || config.ClientID == "" {
		return nil, errors.New("the NinjaOne instance and client ID are not set yet: enter them under Settings")
	}
	return h.NinjaOne(config)
}

// mappingRows returns the mappings of the tenants that CIPP's page shows.
func (h *Handlers) mappingRows(ctx context.Context) ([]mappingRow, error) {
	listed := h.Now().UTC()
	tenants, _, err := h.CIPP.Mapped(ctx)
	if err != nil {
		return nil, err
	}
	rows := []mappingRow{}
	for _, t := range tenants {
		rows = append(rows, mappingRow{
			TenantID: t.ID, Tenant: t.DisplayName, TenantDomain: t.DefaultDomain,
			IntegrationID: flexibleText(strconv.Itoa(t.Mapping.OrganizationID)), IntegrationName: flexibleText(t.Mapping.OrganizationName),
			Listed: listedMark{listed, t.Mapping.OrganizationID},
		})
	}
	slices.SortFunc(rows, func(a, b mappingRow) int { return cmp.Compare(a.TenantID, b.TenantID) })
	return rows, nil
}

// saveOrganizations stores the list of mappings of CIPP's page. What others
// mapped while the page was open stays.
func (h *Handlers) saveOrganizations(w http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	var rows []mappingRow
	if err := json.Unmarshal(body, &rows); err != nil || rows == nil {
		return nil, errors.New("the request must be a JSON list of mappings, each with TenantId, IntegrationId and IntegrationName")
	}
	tenants, err := h.CIPP.AllTenants(ctx)
	if err != nil {
		return nil, err
	}
	var read time.Time
	if len(rows) == 0 {
		read = h.Now() // everything was taken off
	}
	seen := map[string]int{}
	choices := []cipp.OrganizationChoice{}
	for i, row := range rows {
		if row.Listed.at.After(read) {
			read = row.Listed.at
		}
		c, err := choiceOf(row, tenants)
		if errors.Is(err, errNoTenant) && c.Seen == c.OrganizationID {
			continue // it was on the page, and was not touched there
		}
		if err != nil {
			return nil, fmt.Errorf("mapping %d of the list: %w; nothing was saved", i+1, err)
		}
		if other, ok := seen[c.TenantID]; ok {
			if other != c.OrganizationID {
				return nil, fmt.Errorf("mapping %d of the list: its tenant is mapped to two organizations; nothing was saved", i+1)
			}
			continue
		}
		seen[c.TenantID] = c.OrganizationID
		choices = append(choices, c)
	}
	changes, err := h.CIPP.SaveOrganizationMappings(ctx, choices, read)
	if err != nil {
		return nil, err
	}
	h.noteMapping(ctx, changes)
	return results(fmt.Sprintf("%s %d added, %d changed, %d removed.", mappingSaved, changes.Added, changes.Changed, changes.Removed)), nil
}

// maxName is the longest name that is stored, in bytes.
const maxName = 500

func choiceOf(row mappingRow, tenants []cipp.Tenant) (cipp.OrganizationChoice, error) {
	id, err := strconv.ParseInt(string(row.IntegrationID), 10, 32)
	if err != nil || id <= 0 {
		return cipp.OrganizationChoice{}, errors.New("it has no NinjaOne organization")
	}
	if len(row.IntegrationName) > maxName {
		return cipp.OrganizationChoice{}, errors.New("its organization's name is too long")
	}
	c := cipp.OrganizationChoice{OrganizationID: int(id), Name: string(row.IntegrationName), Seen: row.Listed.organization}
	// One version of CIPP's page sent the domain in place of the id.
	for _, t := range tenants {
		if strings.EqualFold(row.TenantID, t.ID) || (row.TenantID != "" && strings.EqualFold(row.TenantID, t.DefaultDomain)) {
			c.TenantID = t.ID
			return c, nil
		}
	}
	return c, errNoTenant
}

var errNoTenant = errors.New("its tenant is not known to CIPP: refresh the page")

// listedMark is the text in mappingRow.Listed, "<time>/<organization>".
type listedMark struct {
	at           time.Time
	organization int
}

// MarshalText writes the mark.
func (m listedMark) MarshalText() ([]byte, error) {
	return []byte(m.at.Format(time.RFC3339Nano) + "/" + strconv.Itoa(m.organization)), nil
}

// UnmarshalText reads a mark; a text that is not a mark counts as absent.
func (m *listedMark) UnmarshalText(text []byte) error {
	at, organization, _ := strings.Cut(string(text), "/")
	t, err := time.Parse(time.RFC3339Nano, at)
	id, idErr := strconv.Atoi(organization)
	if err == nil && idErr == nil {
		*m = listedMark{t, id}
	}
	return nil
}

// flexibleText is a text that may be sent as a number.
type flexibleText string

// UnmarshalJSON takes a text, a number or null.
func (t *flexibleText) UnmarshalJSON(data []byte) error {
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(data, &text) == nil:
		*t = flexibleText(strings.TrimSpace(text))
	case json.Unmarshal(data, &number) == nil:
		*t = flexibleText(number)
	default:
		return errors.New("this is neither text nor number")
	}
	return nil
}
