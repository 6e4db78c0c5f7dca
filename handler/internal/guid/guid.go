// Package guid brings the ids of Microsoft's objects into the form in which they
// are compared: lower case, without space around them.
package guid

import (
	"encoding/json"
	"errors"
	"fmt"
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

// Message decodes a queue message about a tenant into m, of which tenantID is a part.
// After an error the message can never be processed; the error does not quote it.
func Message(text []byte, m any, tenantID *string) error {
	if err := json.Unmarshal(text, m); err != nil {
		return fmt.Errorf("the message is not a JSON object with a tenantId, or a value in it has the wrong type: %w", err)
	}
	if *tenantID = Parse(*tenantID); *tenantID == "" {
		return errors.New("the message's tenantId is not a GUID")
	}
	return nil
}
