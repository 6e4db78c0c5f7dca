package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

// Field is one of CIPP's fields, as pages know it.
type Field struct {
	Name, Label string   // CIPP's name, and what CIPP's page calls it
	Title, Help string   // what the console calls it, and what it shows
	Scope       string   // of the NinjaOne custom field that can hold it
	Types       []string // one of which that custom field has
	// Custom and CustomLabel name the custom field that the console makes for it, of the
	// first type.
	Custom, CustomLabel string
}

// Fields are CIPP's fields, in the order of its page.
var Fields = []Field{
	{"TenantLinks", "Microsoft 365 Tenant Links: the portals and CIPP", "Tenant links", "Links to the Microsoft 365 portals and to CIPP.",
		ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}, "cippTenantLinks", "Microsoft 365 links"},
	{"TenantSummary", "Microsoft 365 Tenant Summary: licences, devices, users, secure score", "Tenant summary", "Licences, devices, users, standards and secure score.",
		ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}, "cippTenantSummary", "Microsoft 365 summary"},
	{"UsersSummary", "Microsoft 365 Users Summary: licences, mailbox and OneDrive use, devices", "Users", "Licences, mailbox and OneDrive use, and devices of each user.",
		ninjaone.ScopeOrganization, []string{ninjaone.TypeWYSIWYG}, "cippUsersSummary", "Microsoft 365 users"},
	{"DeviceLinks", "Microsoft 365 Device Links: the device in Entra, Intune and CIPP", "Device links", "Links to the device in Entra, Intune and CIPP.",
		ninjaone.ScopeNode, []string{ninjaone.TypeWYSIWYG}, "cippDeviceLinks", "Intune links"},
	{"DeviceSummary", "Microsoft 365 Device Summary: user, hardware, enrolment, policies", "Device summary", "User, hardware, enrolment, policies and groups.",
		ninjaone.ScopeNode, []string{ninjaone.TypeWYSIWYG}, "cippDeviceSummary", "Intune summary"},
	{"DeviceCompliance", "Intune Device Compliance Status: Compliant or Non-Compliant, for conditions and filters", "Device compliance", "Compliant or Non-Compliant, for conditions and filters.",
		ninjaone.ScopeNode, []string{ninjaone.TypeText}, "cippDeviceCompliance", "Intune compliance"},
	{"DeviceNonCompliantSettings", "Intune Non-Compliant Settings: those that fail compliance policies, one a line", "Settings that fail", "The settings that fail compliance policies, one a line.",
		ninjaone.ScopeNode, []string{ninjaone.TypeLines, ninjaone.TypeText}, "cippDeviceNonCompliantSettings", "Intune settings that fail"},
}

// cippField is a field in CIPP's words.
type cippField struct {
	FieldName, FieldLabel string
	FieldType             string // Organization or Device
	Type                  any    // of NinjaOne's custom field: a text, or a list of several
}

type fieldHeader struct{ Title, FieldType, Description string }

var fieldHeaders = []fieldHeader{
	{"NinjaOne Organization Global Custom Field Mapping", "Organization", "Choose the NinjaOne custom field for each line. Fields of the type WYSIWYG with the scope Organization and the API permission Read/Write are listed."},
	{"NinjaOne Device Custom Field Mapping", "Device", "Choose the NinjaOne custom field for each line. Fields with the scope Device and the API permission Read/Write are listed. Their type is WYSIWYG, but TEXT for the compliance, and TEXT_MULTILINE or TEXT for the settings that fail."},
}

// integrationField is a NinjaOne custom field to choose, in CIPP's words.
type integrationField struct {
	Name      string  `json:"name"`
	Value     *string `json:"value"` // null for none
	Type      string  `json:"type"`
	FieldType string  `json:",omitempty"`
}

// unsetLabel is the label of the choice for no custom field, on CIPP's page too.
const unsetLabel = "--- Do not synchronize ---"

// fieldRow is a row of CIPP's mapping table.
type fieldRow struct {
	PartitionKey, RowKey string
	IntegrationID        string `json:"IntegrationId"`
	IntegrationName      string
}

// listFields lists CIPP's fields, the NinjaOne custom fields that fit them, and
// what is chosen, in CIPP's order. When NinjaOne cannot be read, listFields lists
// the fields that are chosen, so that none looks gone. CIPP's page reads no
// Results, so the headers that it shows say why, too.
func (h *Handlers) listFields(_ http.ResponseWriter, r *http.Request) (any, error) {
	ctx := r.Context()
	choices, err := h.CIPP.FieldChoices(ctx)
	if err != nil {
		return nil, err
	}
	answer := struct {
		CIPPFields        []cippField
		CIPPFieldHeaders  []fieldHeader
		IntegrationFields []integrationField
		Mappings          []fieldRow
		Results           string `json:",omitempty"`
	}{nil, fieldHeaders, []integrationField{{Name: unsetLabel, Type: "unset"}}, []fieldRow{}, ""}
	for _, f := range Fields {
		field := cippField{f.Name, f.Label, ninjaone.ScopeWords[f.Scope], f.Types}
		if len(f.Types) == 1 {
			field.Type = f.Types[0]
		}
		answer.CIPPFields = append(answer.CIPPFields, field)
	}
	for _, name := range slices.Sorted(maps.Keys(choices)) { // as rows of a table
		answer.Mappings = append(answer.Mappings, fieldRow{"NinjaOneFieldMapping", name, choices[name].ID, choices[name].Name})
	}
	fields, err := h.customFields(ctx)
	if err != nil {
		h.Log.WarnContext(ctx, "NinjaOne's custom fields cannot be listed", "error", err)
		answer.Results = "Failed to read the custom fields from NinjaOne: " + words.End(err.Error())
		answer.CIPPFieldHeaders = slices.Clone(fieldHeaders)
		for i := range answer.CIPPFieldHeaders {
			answer.CIPPFieldHeaders[i].Description = answer.Results + " Only the fields that are chosen already are listed."
		}
		fields = chosenFields(choices)
	}
	answer.IntegrationFields = append(answer.IntegrationFields, fields...)
	return answer, nil
}

// customFields returns the NinjaOne custom fields that CIPP's fields could go to. Like
// CIPP it lists those of organizations first, each in NinjaOne's order. It lists a field
// of both scopes for each.
func (h *Handlers) customFields(ctx context.Context) ([]integrationField, error) {
	all, err := h.CustomFields(ctx)
	if err != nil {
		return nil, err
	}
	fields := []integrationField{}
	for _, scope := range []string{ninjaone.ScopeOrganization, ninjaone.ScopeNode} {
		for _, f := range all {
			if f.Unfit(scope, ninjaone.TypeWYSIWYG, ninjaone.TypeText, ninjaone.TypeLines) == "" {
				fields = append(fields, integrationField{cmp.Or(f.Label, f.Name), &f.Name, f.Type, ninjaone.ScopeWords[scope]})
			}
		}
	}
	return fields, nil
}

// chosenFields stands in for NinjaOne's list when that cannot be read.
func chosenFields(choices map[string]cipp.FieldChoice) (fields []integrationField) {
	for _, f := range Fields {
		if c := choices[f.Name]; c.ID != "" {
			fields = append(fields, integrationField{cmp.Or(c.Name, c.ID), &c.ID, f.Types[0], ninjaone.ScopeWords[f.Scope]})
		}
	}
	return fields
}

// saveFields stores the choices of CIPP's page; fields it does not send stay.
func (h *Handlers) saveFields(w http.ResponseWriter, r *http.Request) (any, error) {
	choices, err := readChoices(w, r)
	if err == nil {
		err = h.SaveFields(r.Context(), choices)
	}
	return results(mappingSaved), err
}

// readChoices reads {field: {label, value}}; older versions of CIPP's page put
// that object into another, as mappings.
func readChoices(w http.ResponseWriter, r *http.Request) ([]cipp.FieldChoice, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	var sent map[string]json.RawMessage
	if err := json.Unmarshal(body, &sent); err != nil || sent == nil {
		return nil, errors.New("the request must be a JSON object of fields, each with a label and a value")
	}
	if wrapped, ok := sent["mappings"]; ok {
		if err := json.Unmarshal(wrapped, &sent); err != nil {
			return nil, errors.New("mappings must be a JSON object of fields, each with a label and a value")
		}
	}
	choices := []cipp.FieldChoice{}
	for _, f := range Fields {
		raw, ok := sent[f.Name]
		if !ok {
			continue // its row stays
		}
		// The page sends null for "Do not synchronize".
		var choice struct{ Label, Value *string }
		if err := json.Unmarshal(raw, &choice); err != nil {
			return nil, errors.New("the field " + f.Name + " must have a label and a value, both text; nothing was saved")
		}
		c := cipp.FieldChoice{Field: f.Name}
		if choice.Value != nil {
			c.ID = strings.TrimSpace(*choice.Value)
		}
		if choice.Label != nil {
			c.Name = strings.TrimSpace(*choice.Label)
		}
		if len(c.ID) > maxName || len(c.Name) > maxName {
			return nil, errors.New("the field " + f.Name + " has a name that is too long; nothing was saved")
		}
		if c.ID == "-1" {
			c.ID = ""
		}
		choices = append(choices, c)
	}
	if len(choices) == 0 {
		return nil, errors.New("the request names none of CIPP's fields")
	}
	return choices, nil
}
