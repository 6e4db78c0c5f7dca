package settings

import (
	"context"
	"encoding/json"

	"cipp-ninjaone/handler/internal/automap"
	"cipp-ninjaone/handler/internal/cipp"
)

// The functions below do for this app's own pages what CIPP's functions do.
// Their errors are sentences for a person.

// SaveSettings stores settings of the NinjaOne extension under CIPP's names, by the rules
// of ExecExtensionsConfig. The others stay. It returns what to tell the person.
func (h *Handlers) SaveSettings(ctx context.Context, settings map[string]any) (string, error) {
	body, err := json.Marshal(map[string]any{"NinjaOne": settings})
	if err != nil {
		return "", err
	}
	return h.save(ctx, body)
}

// StartAutomap asks for an automap of all tenants that are not mapped.
func (h *Handlers) StartAutomap(ctx context.Context) error {
	if err := h.Automap.Send(ctx, automap.Message{}, 0); err != nil {
		return err
	}
	h.audit(ctx, "an automap was asked for")
	h.noteAutomap(ctx)
	return nil
}

// SaveFields stores choices of NinjaOne custom fields, and tells the logbook. The fields
// that are not among them stay.
func (h *Handlers) SaveFields(ctx context.Context, choices []cipp.FieldChoice) error {
	for i, c := range choices {
		if c.ID == "" {
			choices[i].Name = unsetLabel
		}
	}
	before, err := h.CIPP.FieldChoices(ctx)
	if err != nil {
		return err
	}
	if err := h.CIPP.SaveFieldMapping(ctx, choices); err != nil {
		return err
	}
	h.audit(ctx, "the field mapping was saved", "fields", len(choices))
	h.noteChanges(ctx, "The field mapping was saved", fieldChanges(before, choices))
	return nil
}

// MapOrganizations maps tenants, by id, to organizations, or unmaps those whose
// OrganizationID is 0. It leaves tenants whose mapping is no longer the one in Seen, and
// returns them. Other tenants stay as they are.
func (h *Handlers) MapOrganizations(ctx context.Context, edits []cipp.OrganizationChoice) (changes cipp.MappingChanges, overtaken []string, err error) {
	read := h.Now()
	present, err := h.CIPP.OrganizationMappings(ctx)
	if err != nil {
		return changes, nil, err
	}
	edited := map[string]cipp.OrganizationChoice{}
	for _, e := range edits {
		edited[e.TenantID] = e
	}
	var choices []cipp.OrganizationChoice
	for _, m := range present {
		e, ok := edited[m.TenantID]
		switch {
		case m.TenantID == "" || m.OrganizationID == 0:
			continue
		case ok && e.Seen == m.OrganizationID:
			continue // replaced or removed
		case ok:
			overtaken = append(overtaken, m.TenantID)
			delete(edited, m.TenantID)
		}
		choices = append(choices, cipp.OrganizationChoice{TenantID: m.TenantID, OrganizationID: m.OrganizationID, Name: m.OrganizationName, Seen: m.OrganizationID})
	}
	for _, e := range edited {
		if e.OrganizationID != 0 {
			choices = append(choices, e)
		}
	}
	changes, err = h.CIPP.SaveOrganizationMappings(ctx, choices, read)
	if err != nil || len(changes.What) == 0 {
		return changes, overtaken, err
	}
	h.noteMapping(ctx, changes)
	return changes, overtaken, nil
}
