package cipp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/retry"
	"cipp-ninjaone/handler/internal/storage"
)

const (
	extensionPartition = "CippExtensions"
	extensionRowKey    = "Config"
	extensionID        = "NinjaOne"
)

// SecretSent stands in CIPP's settings in place of a secret, which CIPP stores elsewhere.
const SecretSent = "SentToKeyVault"

// maxUpdateTries is how often a save reads and writes a row that others change at the
// same time.
const maxUpdateTries = 20

var errNotObject = errors.New("CIPP's extension settings (table Extensionsconfig, column config) are not a JSON object: save the NinjaOne settings in CIPP again")

// extensionRow returns the row of all extensions' settings and its JSON text;
// nil and "" when there is none. CIPP reads whichever row comes first, so
// another row counts where the usual one is missing.
func (s *Store) extensionRow(ctx context.Context) (row storage.Entity, text string, err error) {
	for e, err := range s.rows(ctx, tableExtensionsConfig, "") {
		if err != nil {
			return nil, "", fmt.Errorf("read CIPP's extension settings: %w", err)
		}
		standard := e.PartitionKey() == extensionPartition && e.RowKey() == extensionRowKey
		if row == nil || standard {
			row, text = e, e.String("config")
		}
		if standard {
			break
		}
	}
	return row, text, nil
}

// NinjaOneSwitches and NinjaOneTexts name the NinjaOne settings as CIPP's page writes
// them. CIPP stores the client secret elsewhere.
var (
	NinjaOneSwitches = []string{"Enabled", "LicenseDocumentsEnabled", "UserDocumentsEnabled", "LicensedOnly", "CveSyncEnabled"}
	NinjaOneTexts    = []string{"Instance", "ClientID", "CveSyncPrefix"}
)

// ExtensionSettings returns what CIPP's pages show of all extensions' settings, by
// extension and property name. That is NinjaOne's own settings, and the switches of all
// others. Whatever is stored under a secret's name reads SecretSent. It leaves out any
// other value: nobody can tell what it gives away.
func (s *Store) ExtensionSettings(ctx context.Context) (map[string]any, error) {
	_, text, err := s.extensionRow(ctx)
	if err != nil {
		return nil, err
	}
	settings := map[string]any{}
	if strings.TrimSpace(text) == "" {
		return settings, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&settings); err != nil || settings == nil {
		return nil, errNotObject
	}
	out := shown(settings, nil)
	for name, part := range settings {
		properties, ok := part.(map[string]any)
		switch {
		case !ok || !plainName.MatchString(name):
		case strings.EqualFold(name, extensionID):
			out[name] = shown(properties, slices.Concat(NinjaOneSwitches, NinjaOneTexts))
		default:
			out[name] = shown(properties, nil)
		}
	}
	return out, nil
}

// secretName matches the names of properties that could hold a secret.
var secretName = regexp.MustCompile(`(?i)(key|secret|password|token)$`)

// plainName matches names that give nothing away. Somebody may have stored an address or
// a key as a name.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_ -]{0,39}$`)

// shown returns the properties that may be shown. These are all switches, and texts and
// numbers under harmless names. It leaves out a property whose name is not a plain one.
func shown(properties map[string]any, harmless []string) map[string]any {
	out := map[string]any{}
	for name, value := range properties {
		_, isSwitch := value.(bool)
		_, isList := value.([]any)
		_, isObject := value.(map[string]any)
		switch {
		case !plainName.MatchString(name):
		case isSwitch || value == nil || value == "":
			out[name] = value
		case secretName.MatchString(name):
			out[name] = SecretSent
		case !isList && !isObject && slices.ContainsFunc(harmless, func(h string) bool { return strings.EqualFold(h, name) }):
			out[name] = value
		}
	}
	return out
}

// maxNesting is how deep objects and lists of settings may be within each
// other. CIPP writes ten levels, and turns what is deeper into text.
const maxNesting = 8

// CheckReadable reports what keeps PowerShell's ConvertFrom-Json from reading a JSON
// value, or CIPP's next save from keeping it. That is an empty property name, an object's
// names that differ in case alone, or too many levels.
func CheckReadable(data []byte) error {
	type level struct {
		names map[string]string // by lower case; nil in a list
		key   bool              // a property name comes next
	}
	var levels []level
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("it is not complete JSON")
		}
		if t == json.Delim('}') || t == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if len(levels) > 0 && levels[len(levels)-1].names != nil {
			at := &levels[len(levels)-1]
			if at.key = !at.key; at.key {
				name := t.(string) // the decoder takes no other key
				folded := strings.ToLower(strings.ToUpper(name))
				if other, ok := at.names[folded]; name == "" {
					return errors.New("one of its properties has an empty name")
				} else if ok && other != name {
					return fmt.Errorf("the property names %.40q and %.40q differ in upper and lower case alone", other, name)
				}
				at.names[folded] = name
				continue
			}
		}
		switch t {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]string{}})
		case json.Delim('['):
			levels = append(levels, level{})
		}
		if len(levels) > maxNesting {
			return fmt.Errorf("objects and lists are more than %d levels deep in it", maxNesting)
		}
	}
}

// Property is one property of a JSON object, with its value as it was written.
type Property struct {
	Name  string
	Value json.RawMessage
}

// ParseObject reads a JSON object whose properties' order and values are to
// stay as they are.
func ParseObject(data []byte) ([]Property, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	properties := []Property{}
	err := reply.Members(d, func(name string) error {
		p := Property{Name: name}
		err := d.Decode(&p.Value)
		properties = append(properties, p)
		return err
	})
	switch {
	case errors.Is(err, reply.ErrForm):
		return nil, errors.New("this is not a JSON object")
	case err != nil:
		return nil, errors.New("this is not a complete JSON object")
	case reply.End(d) != nil:
		return nil, errors.New("something follows the JSON object")
	}
	return properties, nil
}

func formatObject(properties []Property) []byte {
	b := []byte{'{'}
	for i, p := range properties {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quoteJSON(p.Name)...)
		b = append(b, ':')
		b = append(b, p.Value...)
	}
	return append(b, '}')
}

// quoteJSON writes a text as JSON without the escapes that only pages need.
func quoteJSON(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // it never fails for a string
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// set gives properties a new value under a name that CIPP takes without regard to case.
// It removes other spellings of it, since CIPP cannot read an object with two.
func set(properties []Property, name string, value json.RawMessage) []Property {
	at := slices.IndexFunc(properties, func(p Property) bool { return strings.EqualFold(p.Name, name) })
	if at < 0 {
		return append(properties, Property{name, value})
	}
	properties[at] = Property{name, value}
	rest := slices.DeleteFunc(properties[at+1:], func(p Property) bool { return strings.EqualFold(p.Name, name) })
	return properties[:at+1+len(rest)]
}

// CheckNinjaOneSettings shows check what SaveNinjaOneSettings would store, and
// returns its error.
func (s *Store) CheckNinjaOneSettings(ctx context.Context, changes []Property, check func(ExtensionConfig) error) error {
	_, _, err := s.mergedRow(ctx, changes, check)
	return err
}

// SaveNinjaOneSettings gives properties of the NinjaOne part of CIPP's extension settings
// a new value. Everything else stays as it is at the moment of writing, other extensions'
// settings to the byte. It first shows check what the settings would become, perhaps more
// than once. An error of check ends the save. The changes may hold no secret.
func (s *Store) SaveNinjaOneSettings(ctx context.Context, changes []Property, check func(ExtensionConfig) error) error {
	for range maxUpdateTries {
		row, etag, err := s.mergedRow(ctx, changes, check)
		if err != nil {
			return err
		}
		err = s.put(ctx, tableExtensionsConfig, row, etag)
		if err == nil {
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("save the NinjaOne settings: %w", err)
		}
		if err := retry.Sleep(ctx, rand.N(100*time.Millisecond)); err != nil {
			return fmt.Errorf("save the NinjaOne settings: %w", err)
		}
	}
	return errors.New("save the NinjaOne settings: others keep changing CIPP's extension settings; nothing was saved, try again")
}

// mergedRow returns the row of all extensions' settings with the changes in it. The etag
// is that of the row it is made from; "" when there was no row.
func (s *Store) mergedRow(ctx context.Context, changes []Property, check func(ExtensionConfig) error) (row storage.Entity, etag string, err error) {
	row, text, err := s.extensionRow(ctx)
	if err != nil {
		return nil, "", err
	}
	if err := CheckReadable([]byte(text)); err != nil {
		return nil, "", fmt.Errorf("CIPP's extension settings (table Extensionsconfig, column config) cannot be read by CIPP: %w; nothing was saved: mend that row first", err)
	}
	updated, err := mergeSettings(text, changes)
	if err != nil {
		return nil, "", err
	}
	config, err := parseExtensionConfig(updated)
	if err != nil {
		return nil, "", err
	}
	if err := check(config); err != nil {
		return nil, "", err
	}
	etag = row.ETag()
	if row == nil || row.PartitionKey() != extensionPartition || row.RowKey() != extensionRowKey {
		row, etag = storage.Entity{"PartitionKey": extensionPartition, "RowKey": extensionRowKey}, ""
	}
	row["config"] = updated
	return row, etag, nil
}

func mergeSettings(text string, changes []Property) (string, error) {
	all := []Property{}
	if strings.TrimSpace(text) != "" {
		var err error
		if all, err = ParseObject([]byte(text)); err != nil {
			return "", errNotObject
		}
	}
	part := []Property{}
	for _, p := range all {
		if !strings.EqualFold(p.Name, extensionID) {
			continue
		}
		// A part that is not an object holds nothing that could be kept.
		if properties, err := ParseObject(p.Value); err == nil {
			part = properties
		}
	}
	for _, c := range changes {
		part = set(part, c.Name, c.Value)
	}
	return string(formatObject(set(all, extensionID, formatObject(part)))), nil
}
