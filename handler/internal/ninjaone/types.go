package ninjaone

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/reply"
)

// Size limits of custom-field values, in characters. They are not part of the
// OpenAPI document; NinjaOne's own script template counts the JSON-encoded
// string, so escapes count (see JSONLength).
const (
	// MaxHTML is the largest value of a WYSIWYG field.
	MaxHTML = 200_000
	// MaxText is the largest value of a TEXT field, and MaxLines that of a
	// TEXT_MULTILINE field. Of several lines the UTF-16 units count, as they are.
	MaxText  = 200
	MaxLines = 10_000
)

// statusApproved is the status of a device that takes part (Device.ApprovalStatus).
const statusApproved = "APPROVED"

// Types of custom fields that this application writes (CustomField.Type).
const (
	TypeWYSIWYG = "WYSIWYG"
	TypeText    = "TEXT"
	TypeLines   = "TEXT_MULTILINE"
)

// Organization is one customer of the MSP. Source: schema Organization of
// GET /v2/organizations.
type Organization struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// Device is one device that NinjaOne manages. Source: schema Device of GET
// /v2/devices-detailed, plus the hardware block system, which only the answer has. Absent
// values are zero.
type Device struct {
	ID             int
	OrganizationID int
	NodeClass      string // WINDOWS_WORKSTATION, MAC, APPLE_IOS, …
	ApprovalStatus string // PENDING, STAGED, APPROVED or DECOMMISSIONED
	DisplayName    string
	SystemName     string
	DNSName        string
	NetBIOSName    string
	LastContact    time.Time // UTC; zero when NinjaOne has none

	SerialNumber     string // system.serialNumber, as sent
	BIOSSerialNumber string // system.biosSerialNumber, as sent

	IPAddress  string // one of ipAddresses, of the local network where there is one
	MACAddress string // the first of macAddresses
}

// UnmarshalJSON decodes the wire form of a device. Its hardware lies in nested blocks,
// and its times are epoch seconds with a fraction.
func (d *Device) UnmarshalJSON(data []byte) error {
	var w struct {
		ID             int     `json:"id"`
		OrganizationID int     `json:"organizationId"`
		NodeClass      string  `json:"nodeClass"`
		ApprovalStatus string  `json:"approvalStatus"`
		DisplayName    string  `json:"displayName"`
		SystemName     string  `json:"systemName"`
		DNSName        string  `json:"dnsName"`
		NetBIOSName    string  `json:"netbiosName"`
		LastContact    float64 `json:"lastContact"`
		System         struct {
			Name             string `json:"name"`
			SerialNumber     string `json:"serialNumber"`
			BIOSSerialNumber string `json:"biosSerialNumber"`
		} `json:"system"`
		IPAddresses  reply.List[string] `json:"ipAddresses"`
		MACAddresses reply.List[string] `json:"macAddresses"`
	}
	if err := reply.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.SystemName == "" {
		w.SystemName = w.System.Name
	}
	*d = Device{
		ID: w.ID, OrganizationID: w.OrganizationID, NodeClass: w.NodeClass, ApprovalStatus: w.ApprovalStatus,
		DisplayName: w.DisplayName, SystemName: w.SystemName,
		DNSName: w.DNSName, NetBIOSName: w.NetBIOSName,
		LastContact:  epoch(w.LastContact),
		SerialNumber: w.System.SerialNumber, BIOSSerialNumber: w.System.BIOSSerialNumber,
		IPAddress: usual(w.IPAddresses), MACAddress: cmp.Or(w.MACAddresses...),
	}
	return nil
}

// usual returns the first IPv4 address of a list that others reach, else its first.
func usual(addresses []string) string {
	for _, text := range addresses {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			return text
		}
	}
	return cmp.Or(addresses...)
}

// fromMilliseconds is the first number that stands for milliseconds. As seconds it would
// be in the year 5138, as milliseconds it is in 1973.
const fromMilliseconds = 1e11

// epoch converts NinjaOne's time to UTC. By the OpenAPI document it is in seconds since
// 1970, with a fraction; some have seen milliseconds. The size of the number tells which.
// Values that cannot be a time give the zero time.
func epoch(number float64) time.Time {
	milliseconds := number
	if number < fromMilliseconds {
		milliseconds *= 1000
	}
	if !(number > 0 && milliseconds < 1000*fromMilliseconds) {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(milliseconds))).UTC()
}

// CustomField is the definition of a custom field. Source: schema
// AttributePublicApiDTO of GET /v2/device-custom-fields.
type CustomField struct {
	Name            string             `json:"name"` // the key in reads and writes of values
	Label           string             `json:"label"`
	Type            string             `json:"type"`            // WYSIWYG, TEXT, …
	APIPermission   string             `json:"apiPermission"`   // NONE, READ_ONLY, WRITE_ONLY or READ_WRITE
	EntityType      string             `json:"entityType"`      // NODE, USER, TICKET or DOCUMENT
	DefinitionScope reply.List[string] `json:"definitionScope"` // any of NODE, ORGANIZATION, LOCATION, END_USER
	Active          bool               `json:"active"`          // true when NinjaOne does not say
}

// UnmarshalJSON decodes a definition. A missing "active" means true: NinjaOne
// commonly leaves unset properties out.
func (f *CustomField) UnmarshalJSON(data []byte) error {
	type plain CustomField
	w := plain{Active: true}
	if err := reply.Unmarshal(data, &w); err != nil {
		return err
	}
	*f = CustomField(w)
	return nil
}

// ScopeWords are the scopes of custom fields as NinjaOne's own pages call them.
var ScopeWords = map[string]string{ScopeOrganization: "Organization", ScopeNode: "Device"}

// Unfit says why the field cannot hold a value of one of the types in the scope; "" when
// it can. A definition that names no scope is one of devices.
func (f CustomField) Unfit(scope string, types ...string) string {
	switch {
	case !f.Active:
		return "it is not active"
	case !slices.Contains(types, f.Type):
		return fmt.Sprintf("its type is %s, and must be %s", f.Type, strings.Join(types, " or "))
	case !slices.Contains(f.DefinitionScope, scope) && (len(f.DefinitionScope) > 0 || scope != ScopeNode):
		return "it is not defined for the scope " + ScopeWords[scope]
	case f.APIPermission != PermissionReadWrite:
		return fmt.Sprintf("its API permission is %s, and must be Read/Write", f.APIPermission)
	}
	return ""
}

// Fields are values of custom fields by the field's API name
// (CustomField.Name). A write touches only the fields named.
type Fields map[string]Value

// Value is the value of a custom field on its way to NinjaOne. Values are comparable, and
// the client sends their JSON form. The zero Value clears.
type Value struct {
	kind valueKind
	s    string
}

type valueKind uint8

const (
	kindClear valueKind = iota
	kindHTML
	kindText
	kindLines
)

// HTML is the value of a WYSIWYG field, sent as {"html": "…"}.
func HTML(s string) Value { return Value{kindHTML, s} }

// Text is the value of a TEXT field, sent as a string.
func Text(s string) Value { return Value{kindText, s} }

// Lines is a value of several lines for a field of type TEXT or TEXT_MULTILINE, sent as a
// string.
func Lines(s string) Value { return Value{kindLines, s} }

// Clear empties a field of any type, sent as null.
func Clear() Value { return Value{} }

// IsHTML reports whether the value is that of a WYSIWYG field.
func (v Value) IsHTML() bool { return v.kind == kindHTML }

// IsClear reports whether the value empties the field.
func (v Value) IsClear() bool { return v.kind == kindClear }

// String returns the text or HTML of the value, "" for Clear.
func (v Value) String() string { return v.s }

// MarshalJSON returns the form that NinjaOne expects in
// PATCH /v2/organization/{id}/custom-fields and the device's counterpart.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case kindHTML:
		return append(appendString([]byte(`{"html":`), v.s), '}'), nil
	case kindText, kindLines:
		return appendString(nil, v.s), nil
	default:
		return []byte("null"), nil
	}
}

// appendString appends s as encodeJSON encodes it. Values are long, and the app encodes
// them for their digest, the request and the row that keeps them.
func appendString(b []byte, s string) []byte {
	start, from := len(b), 0
	b = append(slices.Grow(b, len(s)+len(s)/8+2), '"')
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		switch {
		case r == '"' || r == '\\':
			b = append(append(b, s[from:i]...), '\\')
			from = i
		case r < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029':
			encoded, _ := encodeJSON(s) // it never fails for a string
			return append(b[:start], encoded...)
		}
		i += size
	}
	return append(append(b, s[from:]...), '"')
}

// JSONLength returns the length of s as a JSON string without the quotes, in UTF-16
// units. It is the measure of MaxHTML and MaxText. It equals what the client sends, which
// does not escape <, > and &.
func JSONLength(s string) int {
	n := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			n, i = n+1, i+1
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			n += len(`\ufffd`)
		case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
			n += 2
		case r < 0x20 || r == '\u2028' || r == '\u2029':
			n += len(`\u0000`)
		default:
			n += utf16.RuneLen(r)
		}
		i += size
	}
	return n
}

// UTF16Length returns the length of s in UTF-16 units: the measure of values of
// several lines.
func UTF16Length(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// encodeJSON encodes v without the escapes that only HTML pages need and
// without the final newline.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
