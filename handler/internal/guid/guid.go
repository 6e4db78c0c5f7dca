// Package guid brings the ids of Microsoft's objects into the form in which they
// are compared: lower case, without space around them.
package guid

import (
	"strings"

	"github.com/google/uuid"
)

// Parse returns a GUID in that form; "" when the text is not one of 32 digits in
// five groups.
func Parse(text string) string {
	text = strings.TrimSpace(text)
	if id, err := uuid.Parse(text); err == nil && len(text) == 36 {
		return id.String()
	}
	return ""
}

// Fold brings an id of a service into that form, whether it is a GUID or not.
func Fold(id string) string { return strings.ToLower(strings.TrimSpace(id)) }

// FoldAll is Fold of each.
func FoldAll(ids []string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, Fold(id))
	}
	return out
}
