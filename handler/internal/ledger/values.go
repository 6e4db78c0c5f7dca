package ledger

import (
	"encoding/json"
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

// A value has a column of its own beside its digest. So a merge of the fields just
// written leaves the others. The column holds, deflated, what NinjaOne was sent; an empty
// one holds nothing.
const (
	columnValue = "Value_"
	// The table service limits a column's name, in characters, and its binary content, in
	// bytes.
	// https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
	maxColumnName = 255
	maxColumn     = 64 << 10
	// maxValue is far above what a column can stand for in practice, in bytes.
	maxValue = 16 << 20
)

// Value is what NinjaOne last accepted for a field, as far as it is kept.
type Value struct {
	// Text is the HTML of a WYSIWYG field, the text of any other; "" where the
	// field was cleared.
	Text string
	// Certain says that nothing was sent since. Otherwise another value was on its way,
	// and nobody knows whether NinjaOne took it.
	Certain bool
}

// Keep puts the value that NinjaOne accepted for a field into a row that is
// about to be merged. A value that is too large for a row is not kept.
func Keep(row storage.Entity, field string, v ninjaone.Value) {
	column, ok := columnOf(field)
	if !ok {
		return
	}
	row[column] = []byte{} // in place of what was kept before: a merge deletes no column
	if v.IsClear() {
		return
	}
	body, err := v.MarshalJSON()
	if err != nil {
		return
	}
	if packed := storage.Deflate(body); len(packed) <= maxColumn {
		row[column] = packed
	}
}

// Drop takes the value that is kept for a field out of a row that is about to
// be merged.
func Drop(row storage.Entity, field string) { Keep(row, field, ninjaone.Clear()) }

// Kept returns a row's values of the fields whose digests or marks are noted. The row has
// all its columns. A field without a kept value is missing. It was never written, is too
// large, or was written before values were kept.
func Kept(row storage.Entity, noted map[string]string) map[string]Value {
	kept := map[string]Value{}
	for field, digest := range noted {
		if digest == Cleared {
			kept[field] = Value{Certain: true}
			continue
		}
		column, ok := columnOf(field)
		packed, _ := row[column].([]byte)
		if !ok || len(packed) == 0 {
			continue
		}
		body, err := storage.Inflate(packed, maxValue)
		if err != nil {
			continue
		}
		// A digest of another value was noted by a handler that keeps none.
		certain := Sum(body) == digest
		if text, ok := textOf(body); ok && (certain || digest == Unknown) {
			kept[field] = Value{text, certain}
		}
	}
	return kept
}

// textOf reads the form in which a value is sent.
func textOf(body []byte) (string, bool) {
	var text string
	if json.Unmarshal(body, &text) == nil {
		return text, true
	}
	var rich struct {
		HTML *string `json:"html"`
	}
	if json.Unmarshal(body, &rich) != nil || rich.HTML == nil {
		return "", false
	}
	return *rich.HTML, true
}

// columnOf names the column of a field. A column's name has letters, digits and
// underscores; whatever else a field's name has is written as its code.
func columnOf(field string) (string, bool) {
	var name strings.Builder
	name.WriteString(columnValue)
	for _, r := range field {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			name.WriteRune(r)
		} else {
			fmt.Fprintf(&name, "_%x_", r)
		}
	}
	return name.String(), name.Len() <= maxColumnName
}
