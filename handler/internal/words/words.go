// Package words gives texts the form in which people read them: whole
// sentences, no longer than their place. It knows nothing of what they say.
package words

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// End returns a text on one line that ends as a sentence. It goes on in a
// sentence that somebody else began.
func End(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" || strings.HasSuffix(text, ".") || strings.HasSuffix(text, "…") {
		return text
	}
	return text + "."
}

// Sentence is End with a capital.
func Sentence(text string) string {
	text = End(text)
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

// Clip returns a text of at most limit characters. One that is longer ends with
// an ellipsis.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	if runes := []rune(strings.ToValidUTF8(text, "")); len(runes) > limit {
		return strings.TrimSpace(string(runes[:limit-1])) + "…"
	}
	return text
}
