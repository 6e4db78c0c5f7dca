package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
)

// ninjaOnePart returns NinjaOne's among the settings of all extensions.
func ninjaOnePart(all map[string]any) map[string]any {
	for name, part := range all {
		if isNinjaOne(name) {
			properties, _ := part.(map[string]any)
			return properties
		}
	}
	return nil
}

// changesOf words each change that a save makes to the NinjaOne settings. It also returns
// the switches that the save turns on. It does not repeat the client id, since people
// paste other things in its place, nor ever the secret.
func changesOf(before map[string]any, saved []cipp.Property) (changes, turnedOn []string) {
	for _, p := range saved {
		var old any
		for name, value := range before {
			if strings.EqualFold(name, p.Name) {
				old = value
			}
		}
		var now any
		if p.Name == propertyAPIKey || json.Unmarshal(p.Value, &now) != nil {
			continue
		}
		if _, text := now.(string); text && old == nil {
			old = ""
		}
		from, to := settingText(old), settingText(now)
		if from == to {
			continue
		}
		if now == true {
			turnedOn = append(turnedOn, p.Name)
		}
		if p.Name == propertyClientID {
			changes = append(changes, p.Name+": changed")
			continue
		}
		changes = append(changes, p.Name+": "+from+" → "+to)
	}
	return changes, turnedOn
}

// settingText words the value of a setting. A switch that was never set is off.
func settingText(value any) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "on"
		}
	case string:
		return cmp.Or(strings.TrimSpace(v), "not set")
	}
	return "off"
}

// warnings names what a save turned on and this app does not do at present. After a
// give-back, CIPP's own engine does it.
func (h *Handlers) warnings(ctx context.Context, turnedOn []string) string {
	if len(turnedOn) == 0 {
		return ""
	}
	given, err := h.GivenBack(ctx)
	if err != nil {
		h.Log.WarnContext(ctx, "whether the syncs were given back cannot be read", "error", err)
	}
	if !given {
		return ""
	}
	return " Warning: the syncs were given back to CIPP's own engine. This app does none of what was turned on (" +
		strings.Join(slices.Sorted(slices.Values(turnedOn)), ", ") + ") until they are taken over again on its console."
}

// fieldChanges words what a save changes of the mapping of fields.
func fieldChanges(before map[string]cipp.FieldChoice, saved []cipp.FieldChoice) (changes []string) {
	for _, c := range saved {
		if old := before[c.Field]; old.ID != c.ID {
			changes = append(changes, c.Field+": "+cmp.Or(old.ID, unsynced)+" → "+cmp.Or(c.ID, unsynced))
		}
	}
	return changes
}

// unsynced is how a change calls a field that goes to no custom field.
const unsynced = "not synchronized"

// noteMapping tells of a save of the mapping of tenants.
func (h *Handlers) noteMapping(ctx context.Context, changes cipp.MappingChanges) {
	h.audit(ctx, "the tenant mapping was saved", "added", changes.Added, "changed", changes.Changed, "removed", changes.Removed)
	if len(changes.What) > 0 {
		h.noteChanges(ctx, "The tenant mapping was saved", changes.What)
	}
}
