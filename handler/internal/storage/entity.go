package storage

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"cipp-ninjaone/handler/internal/isotime"
)

// Entity is one row of a table: its columns by name, PartitionKey and RowKey among them.
// Values are string, bool, int32 (Edm.Int32), int64 (Edm.Int64), float64 (Edm.Double),
// time.Time (Edm.DateTime), []byte (Edm.Binary) and GUID (Edm.Guid). An int becomes an
// Int32 when it fits. Writing leaves out a nil value and the zero time: a table has no
// null, only a missing column.
//
// Types: https://learn.microsoft.com/rest/api/storageservices/payload-format-for-table-service-operations
type Entity map[string]any

// GUID is a value of type Edm.Guid.
type GUID string

const (
	partitionKey = "PartitionKey"
	rowKey       = "RowKey"
	timestamp    = "Timestamp"
	etagKey      = "odata.etag"
)

// AnyETag matches any version of a row that exists.
const AnyETag = "*"

// PartitionKey returns the row's partition key.
func (e Entity) PartitionKey() string { return e.String(partitionKey) }

// RowKey returns the row's key within its partition.
func (e Entity) RowKey() string { return e.String(rowKey) }

// ETag returns the version the row had when it was read; "" for a row that was not.
func (e Entity) ETag() string { return e.String(etagKey) }

// Timestamp returns when the service last changed the row; zero for a row that
// was not read.
func (e Entity) Timestamp() time.Time { return e.Time(timestamp) }

// Has reports whether the row has the column.
func (e Entity) Has(column string) bool { return e[column] != nil }

// String returns a column as text. A missing column gives "", a number or
// boolean its usual text, a time RFC 3339.
func (e Entity) String(column string) string {
	switch v := e[column].(type) {
	case string:
		return v
	case GUID:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int32:
		return strconv.FormatInt(int64(v), 10)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return ""
}

// SetTimes sets columns, but for times that are zero: such a column is left out.
func (e Entity) SetTimes(columns map[string]time.Time) {
	for name, t := range columns {
		if !t.IsZero() {
			e[name] = t.UTC()
		}
	}
}

// Int returns a column as a whole number; a text of digits counts as one. A
// missing column or any other value gives 0.
func (e Entity) Int(column string) int64 {
	switch v := e[column].(type) {
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case int64:
		return v
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// Bool returns a column as a boolean; the texts "true" and "1" in any case
// count as true. A missing column gives false.
func (e Entity) Bool(column string) bool {
	switch v := e[column].(type) {
	case bool:
		return v
	case string:
		b, _ := strconv.ParseBool(strings.ToLower(strings.TrimSpace(v)))
		return b
	case int32:
		return v != 0
	case int64:
		return v != 0
	}
	return false
}

// Time returns a column of type Edm.DateTime, or of type string in ISO 8601,
// in UTC. A missing or unreadable column gives the zero time.
func (e Entity) Time(column string) time.Time {
	switch v := e[column].(type) {
	case time.Time:
		return v.UTC()
	case string:
		t, _ := isotime.Parse(v)
		return t
	}
	return time.Time{}
}

// edmTime is how the service reads and writes Edm.DateTime.
const edmTime = "2006-01-02T15:04:05.9999999Z"

func (e Entity) encode() ([]byte, error) {
	if err := e.checkKeys(); err != nil {
		return nil, err
	}
	out := make(map[string]any, len(e)+4)
	typed := func(name, edm string, value any) {
		out[name], out[name+"@odata.type"] = value, edm
	}
	for name, value := range e {
		if name == timestamp || strings.Contains(name, "odata.") {
			continue
		}
		switch v := value.(type) {
		case nil:
		case string, bool, int32:
			out[name] = v
		case int:
			if v >= math.MinInt32 && v <= math.MaxInt32 {
				out[name] = v
			} else {
				typed(name, "Edm.Int64", strconv.Itoa(v))
			}
		case int64:
			typed(name, "Edm.Int64", strconv.FormatInt(v, 10))
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("column %s is not a finite number", name)
			}
			typed(name, "Edm.Double", v)
		case time.Time:
			if !v.IsZero() {
				typed(name, "Edm.DateTime", v.UTC().Format(edmTime))
			}
		case []byte:
			typed(name, "Edm.Binary", base64.StdEncoding.EncodeToString(v))
		case GUID:
			typed(name, "Edm.Guid", string(v))
		default:
			return nil, fmt.Errorf("column %s has the Go type %T, which a table cannot hold", name, value)
		}
	}
	return json.Marshal(out)
}

// checkKeys refuses what the service would refuse with a less clear answer.
// https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
func (e Entity) checkKeys() error {
	for _, name := range []string{partitionKey, rowKey} {
		key, ok := e[name].(string)
		if !ok || key == "" {
			return fmt.Errorf("the row has no %s", name)
		}
		if strings.ContainsAny(key, `/\#?`) || strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }) {
			return fmt.Errorf("the row's %s has a character that a key may not have (/, \\, #, ? or a control character)", name)
		}
		if len(utf16.Encode([]rune(key))) > 512 {
			return fmt.Errorf("the row's %s is longer than 512 characters", name)
		}
	}
	return nil
}

func decodeEntity(data []byte) (Entity, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("the service sent a row that is not a JSON object: %w", err)
	}
	e := make(Entity, len(raw))
	for name, value := range raw {
		if name == etagKey {
			e[name] = value
			continue
		}
		if strings.Contains(name, "odata.") || value == nil {
			continue // null stands for a selected column that the row does not have
		}
		edm, _ := raw[name+"@odata.type"].(string)
		if name == timestamp {
			edm = "Edm.DateTime"
		}
		v, err := decodeValue(value, edm)
		if err != nil {
			return nil, fmt.Errorf("the service sent a row whose column %s does not hold its type %s", name, edm)
		}
		e[name] = v
	}
	return e, nil
}

func decodeValue(value any, edm string) (any, error) {
	if n, ok := value.(json.Number); ok {
		if i, err := strconv.ParseInt(n.String(), 10, 32); err == nil && edm != "Edm.Double" {
			return int32(i), nil
		}
		return n.Float64()
	}
	text, ok := value.(string)
	if !ok {
		return value, nil // a boolean
	}
	switch edm {
	case "Edm.Int64":
		return strconv.ParseInt(text, 10, 64)
	case "Edm.Double":
		return strconv.ParseFloat(text, 64)
	case "Edm.DateTime":
		return time.Parse(time.RFC3339Nano, text)
	case "Edm.Binary":
		return base64.StdEncoding.DecodeString(text)
	case "Edm.Guid":
		return GUID(text), nil
	}
	return text, nil
}
