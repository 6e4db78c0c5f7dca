package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// listConfig is CIPP's ListExtensionsConfig: the settings of all extensions,
// an empty object when there are none.
func (h *Handlers) listConfig(_ http.ResponseWriter, r *http.Request) (any, error) {
	settings, err := h.CIPP.ExtensionSettings(r.Context())
	h.tellSecret(r.Context(), settings)
	return settings, err
}

// tellSecret marks the client secret as stored where it is, though the settings
// do not say so.
func (h *Handlers) tellSecret(ctx context.Context, settings map[string]any) {
	properties := ninjaOnePart(settings)
	for property, value := range properties {
		if strings.EqualFold(property, propertyAPIKey) {
			if value == cipp.SecretSent {
				return
			}
			delete(properties, property)
		}
	}
	if properties == nil {
		return
	}
	if _, err := h.Secrets.Secret(ctx, cipp.SecretNinjaOne, false); err == nil {
		properties[propertyAPIKey] = cipp.SecretSent
	}
}

// saveConfig is CIPP's ExecExtensionsConfig: it is sent the settings of all
// extensions and stores those of NinjaOne. Its status is 200 in any case.
func (h *Handlers) saveConfig(w http.ResponseWriter, r *http.Request) (any, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	text, err := h.save(r.Context(), body)
	return results(text), err
}

// save stores what the body of ExecExtensionsConfig changes, and returns what to tell the
// person who sent it.
func (h *Handlers) save(ctx context.Context, body []byte) (string, error) {
	extensions, err := cipp.ParseObject(body)
	if err != nil {
		return "", errors.New("the request must be the JSON object that ListExtensionsConfig gives, with the changes in it")
	}
	// As in a JSON object, the last of several counts.
	var part json.RawMessage
	name := ""
	for _, e := range extensions {
		if !isNinjaOne(e.Name) {
			continue
		}
		if name != "" && name != e.Name {
			return "", fmt.Errorf("the request holds the NinjaOne settings twice, as %q and %q; nothing was saved", name, e.Name)
		}
		name, part = e.Name, e.Value
	}
	if part == nil {
		return "", errors.New("the request holds no NinjaOne settings, and this app saves no others")
	}
	properties, err := cipp.ParseObject(part)
	if err != nil {
		return "", errors.New("the NinjaOne settings must be a JSON object")
	}
	if err := cipp.CheckReadable(part); err != nil {
		return "", fmt.Errorf("CIPP would not be able to read the NinjaOne settings: %w; nothing was saved", err)
	}
	changes, unknown, secret, err := readChanges(properties)
	if err != nil {
		return "", err
	}
	if err := h.CIPP.CheckNinjaOneSettings(ctx, changes, checkConfig); err != nil {
		return "", err
	}
	before, err := h.CIPP.ExtensionSettings(ctx)
	if err != nil {
		return "", err
	}
	// The secret comes first: settings that say it is stored must not be ahead
	// of it.
	if secret != "" {
		if err := h.Secrets.StoreNinjaOne(ctx, secret); err != nil {
			return "", err
		}
	}
	if err := h.CIPP.SaveNinjaOneSettings(ctx, changes, checkConfig); err != nil {
		if secret != "" {
			return "", errors.New(err.Error() + "; the new client secret is stored already")
		}
		return "", err
	}
	h.audit(ctx, "the NinjaOne settings were saved", "newSecret", secret != "")
	changed, turnedOn := changesOf(ninjaOnePart(before), changes)
	if secret != "" {
		changed = append(changed, "a new client secret")
	}
	h.noteChanges(ctx, "The NinjaOne settings were saved", changed)
	text := "Successfully saved the NinjaOne settings." + h.warnings(ctx, turnedOn)
	shown, err := h.CIPP.ExtensionSettings(ctx)
	if err != nil {
		return text, nil // it is saved all the same
	}
	if names := notSaved(unknown, ninjaOnePart(shown)); len(names) > 0 {
		text += " Warning: these failed to be saved, since this app does not take over what they set: " + strings.Join(names, ", ") + "."
	}
	others := slices.DeleteFunc(extensions, func(e cipp.Property) bool { return isNinjaOne(e.Name) })
	if len(notSaved(others, shown)) > 0 {
		text += " Warning: the changes to other extensions' settings were not saved. Error: this app saves NinjaOne's alone; make those in CIPP itself."
	}
	return text, nil
}

// namesTold bounds how many names an answer repeats.
const namesTold = 10

// notSaved returns the quoted names of properties that listConfig shows otherwise: those
// changes were in vain.
func notSaved(sent []cipp.Property, stored map[string]any) (names []string) {
	for _, p := range sent {
		var value any
		d := json.NewDecoder(bytes.NewReader(p.Value))
		d.UseNumber()
		if err := d.Decode(&value); err == nil && !reflect.DeepEqual(value, stored[p.Name]) && len(names) < namesTold {
			names = append(names, fmt.Sprintf("%.40q", p.Name))
		}
	}
	return names
}

// The properties of the NinjaOne settings that have rules. Their names are
// CIPP's own, in the spelling of its page.
const (
	propertyInstance = "Instance"
	propertyAPIKey   = "APIKey"
	propertyClientID = "ClientID"
	propertyPrefix   = "CveSyncPrefix"
	// propertyReset is a control of the page, never stored.
	propertyReset = "ResetPassword"
)

// readChanges checks the NinjaOne settings of a request one by one. It returns the known
// ones as CIPP stores them, and the unknown ones. The secret is the new client secret, ""
// when it stays.
func readChanges(properties []cipp.Property) (changes []cipp.Property, unknown []cipp.Property, secret string, err error) {
	for _, p := range properties {
		if string(p.Value) == "null" {
			continue // CIPP's page has no value for it
		}
		named := func(name string) bool { return strings.EqualFold(name, p.Name) }
		switch i, j := slices.IndexFunc(cipp.NinjaOneSwitches, named), slices.IndexFunc(cipp.NinjaOneTexts, named); {
		case named(propertyReset):
			continue
		case named(propertyAPIKey):
			value, err := textOf(p)
			if err != nil {
				return nil, nil, "", err
			}
			if value == "" || value == cipp.SecretSent {
				continue
			}
			secret = value
			p = cipp.Property{Name: propertyAPIKey, Value: quote(cipp.SecretSent)}
		case i >= 0:
			var on bool
			if err := json.Unmarshal(p.Value, &on); err != nil {
				return nil, nil, "", errors.New("the setting " + cipp.NinjaOneSwitches[i] + " must be true or false")
			}
			p.Name = cipp.NinjaOneSwitches[i]
		case j >= 0:
			value, err := textOf(p)
			if err != nil {
				return nil, nil, "", err
			}
			if named(propertyInstance) && value != "" {
				if value, err = ninjaone.NormalizeInstance(value); err != nil {
					return nil, nil, "", errInstance
				}
			}
			p = cipp.Property{Name: cipp.NinjaOneTexts[j], Value: quote(value)}
		default:
			unknown = append(unknown, p)
			continue
		}
		changes = append(changes, p)
	}
	return changes, unknown, secret, nil
}

// maxSetting is the longest text of a setting, in bytes. A client secret has
// about sixty.
const maxSetting = 1000

// textOf reads a setting that is a text, or one of CIPP's select controls.
func textOf(p cipp.Property) (string, error) {
	var text string
	if err := json.Unmarshal(p.Value, &text); err != nil {
		var choice struct{ Value *string }
		if err := json.Unmarshal(p.Value, &choice); err != nil || choice.Value == nil {
			return "", errors.New("one of the settings Instance, ClientID, APIKey and CveSyncPrefix is not a text")
		}
		text = *choice.Value
	}
	if len(text) > maxSetting {
		return "", errors.New("one of the settings Instance, ClientID, APIKey and CveSyncPrefix is too long")
	}
	if strings.EqualFold(p.Name, propertyPrefix) {
		return text, nil // CIPP's group may be "CIPP contoso.com"
	}
	return strings.TrimSpace(text), nil
}

func quote(text string) json.RawMessage {
	data, _ := json.Marshal(text) // a string always can be
	return data
}

// errInstance leaves the value out: somebody may have pasted a secret there.
var errInstance = errors.New("the NinjaOne instance is not allowed: enter the host of your NinjaOne console, which is " + ninjaone.KnownInstances)

// checkConfig refuses settings that no sync could use.
func checkConfig(c cipp.ExtensionConfig) error {
	if c.Instance != "" || c.Enabled {
		if _, err := ninjaone.NormalizeInstance(c.Instance); err != nil {
			return errInstance
		}
	}
	return nil
}
