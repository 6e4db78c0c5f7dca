package cipp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// ExtensionConfig is what CIPP's administrators set for NinjaOne.
type ExtensionConfig struct {
	Configured bool // the extension was saved at least once
	Enabled    bool
	Instance   string // NinjaOne host as it was typed, scheme or path included
	ClientID   string // OAuth client id

	LicenseDocuments bool
	UserDocuments    bool
	LicensedOnly     bool   // only licensed users are shown
	CVESync          bool   // vulnerabilities are uploaded
	CVESyncPrefix    string // of the scan group's name, spaces included
}

// NinjaOneConfig reads the NinjaOne part of table Extensionsconfig. CIPP takes
// the names in its JSON without regard to case. Without a row, or without
// NinjaOne in it, the result is the zero value.
func (s *Store) NinjaOneConfig(ctx context.Context) (ExtensionConfig, error) {
	_, text, err := s.extensionRow(ctx)
	if err != nil {
		return ExtensionConfig{}, err
	}
	return parseExtensionConfig(text)
}

func parseExtensionConfig(text string) (ExtensionConfig, error) {
	if strings.TrimSpace(text) == "" {
		return ExtensionConfig{}, nil
	}
	var all struct{ NinjaOne json.RawMessage }
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		// The parser's error would quote other extensions' settings.
		return ExtensionConfig{}, errors.New("CIPP's extension settings (table Extensionsconfig, column config) are not a JSON object: save the NinjaOne settings in CIPP again")
	}
	if len(all.NinjaOne) == 0 || bytes.Equal(all.NinjaOne, []byte("null")) {
		return ExtensionConfig{}, nil
	}
	var n struct {
		Enabled                 *lenientBool
		Instance                lenientText
		ClientID                lenientText
		LicenseDocumentsEnabled lenientBool
		UserDocumentsEnabled    lenientBool
		LicensedOnly            lenientBool
		CveSyncEnabled          lenientBool
		CveSyncPrefix           json.RawMessage
	}
	if err := json.Unmarshal(all.NinjaOne, &n); err != nil {
		return ExtensionConfig{}, errors.New("CIPP's NinjaOne settings (table Extensionsconfig, column config) are not a JSON object: save them in CIPP again")
	}
	c := ExtensionConfig{
		Configured:       n.Enabled != nil,
		Instance:         string(n.Instance),
		ClientID:         string(n.ClientID),
		LicenseDocuments: bool(n.LicenseDocumentsEnabled),
		UserDocuments:    bool(n.UserDocumentsEnabled),
		LicensedOnly:     bool(n.LicensedOnly),
		CVESync:          bool(n.CveSyncEnabled),
		CVESyncPrefix:    asTyped(n.CveSyncPrefix),
	}
	c.Enabled = c.Configured && bool(*n.Enabled)
	return c, nil
}

// asTyped reads a text that CIPP may store as a number, or as its select controls'
// {label, value}. It keeps the spaces around it: a prefix may end in one. Anything else
// reads as "".
func asTyped(data json.RawMessage) string {
	var text string
	var number json.Number
	var choice struct{ Label, Value json.RawMessage }
	switch {
	case json.Unmarshal(data, &text) == nil:
		return text
	case json.Unmarshal(data, &number) == nil:
		return number.String()
	case json.Unmarshal(data, &choice) == nil:
		return cmp.Or(asTyped(choice.Value), asTyped(choice.Label))
	}
	return ""
}

// lenientText is such a text without the spaces around it.
type lenientText string

// UnmarshalJSON never fails.
func (t *lenientText) UnmarshalJSON(data []byte) error {
	*t = lenientText(strings.TrimSpace(asTyped(data)))
	return nil
}

// lenientBool is a boolean that CIPP may store as text, 0, 1, or its select controls'
// {label, value}. Anything else is false.
type lenientBool bool

// UnmarshalJSON never fails.
func (b *lenientBool) UnmarshalJSON(data []byte) error {
	var plain bool
	var text lenientText
	if err := json.Unmarshal(data, &plain); err == nil {
		*b = lenientBool(plain)
	} else if err := json.Unmarshal(data, &text); err == nil {
		*b = lenientBool(strings.EqualFold(string(text), "true") || text == "1")
	}
	return nil
}

// hostName is a DNS name, with a port or without.
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?$`)

// portalHost returns the host of CIPP's portal (table Config, row CIPPURL) for links. It
// is "" when the row holds no host name.
func (s *Store) portalHost(ctx context.Context) (string, error) {
	text, err := s.value(ctx, tableConfig, "InstanceProperties", "CIPPURL", "Value")
	if err != nil {
		return "", err
	}
	return cleanHost(text), nil
}

func cleanHost(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") || len(u.Host) > 260 || !hostName.MatchString(u.Host) {
		return ""
	}
	return u.Host
}

// excludedSKUs returns the SKUs that CIPP leaves out everywhere, by lower-case
// GUID (table ExcludedLicenses). Those left out of alerts only are not among
// them.
func (s *Store) excludedSKUs(ctx context.Context) (map[string]bool, error) {
	excluded := map[string]bool{}
	for e, err := range s.rows(ctx, tableExcludedLicenses, storage.Eq("PartitionKey", "License")) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's excluded licences: %w", err)
		}
		id := guid.Parse(e.RowKey())
		if id == "" {
			id = guid.Parse(e.String("GUID"))
		}
		if id != "" && (!e.Has("ExcludedEverywhere") || e.Bool("ExcludedEverywhere")) {
			excluded[id] = true
		}
	}
	return excluded, nil
}
