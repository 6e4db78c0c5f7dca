// Package wysiwyg does to a rich text value what NinjaOne does when it stores one. It silently
// removes what is not on the documented list of elements, attributes, style properties and classes.
// Where write-ups of that list disagree, it takes the stricter reading. So markup that survives
// here survives there.
//
// Only the list and its application belong here; nothing that speaks HTTP, and nothing that renders.
package wysiwyg

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
)

// policy keeps the listed elements and attributes; class and style values are then narrowed by filterValues.
var policy = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements(elements...)
	p.AllowNoAttrs().OnElements(elements...)
	p.AllowAttrs("class", "style").OnElements(elements...)
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("target").Matching(regexp.MustCompile(`^_blank$`)).OnElements("a")
	p.AllowAttrs("scope").Matching(regexp.MustCompile(`^(?:row|col|rowgroup|colgroup)$`)).OnElements("th")
	p.RequireParseableURLs(true)
	p.AllowURLSchemes("https")
	return p
}()

// Sanitize returns the value as NinjaOne would store it, and what NinjaOne would remove from it.
// Each kind of removal has one short description, in alphabetical order. Examples are "element br",
// "attribute title on td", "class mt-5", "style font-weight: bold". The text of a removed element
// stays, unless it is code. Sanitising twice changes nothing more.
func Sanitize(value string) (clean string, removed []string) {
	kept := policy.Sanitize(value)
	lost := inventory(value)
	for what, count := range inventory(kept) {
		if lost[what] -= count; lost[what] <= 0 {
			delete(lost, what)
		}
	}
	clean = filterValues(kept, lost)
	return clean, slices.Sorted(maps.Keys(lost))
}

// inventory counts the tags and attributes of a value.
func inventory(value string) map[string]int {
	found := map[string]int{}
	tokens := html.NewTokenizer(strings.NewReader(value))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return found
		case html.CommentToken:
			found["comment"]++
		case html.DoctypeToken:
			found["doctype"]++
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			found["element "+token.Data]++
			if !slices.Contains(elements, token.Data) {
				continue
			}
			for _, attribute := range token.Attr {
				found["attribute "+attribute.Key+" on "+token.Data]++
			}
		}
	}
}

// filterValues drops the class names and style declarations that are not allowed. It also drops
// attributes left empty or given twice. The value holds only allowed elements and attributes.
func filterValues(value string, lost map[string]int) string {
	var out strings.Builder
	tokens := html.NewTokenizer(strings.NewReader(value))
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return out.String()
		}
		token := tokens.Token()
		if kind == html.StartTagToken || kind == html.SelfClosingTagToken {
			var attributes []html.Attribute
			for _, attribute := range token.Attr {
				switch attribute.Key {
				case "class":
					attribute.Val = filterClasses(attribute.Val, lost)
				case "style":
					attribute.Val = filterStyles(attribute.Val, lost)
				}
				given := slices.ContainsFunc(attributes, func(a html.Attribute) bool { return a.Key == attribute.Key })
				if attribute.Val != "" && !given {
					attributes = append(attributes, attribute)
				}
			}
			token.Attr = attributes
		}
		out.WriteString(token.String())
	}
}

func filterClasses(value string, lost map[string]int) string {
	var kept []string
	for _, name := range strings.Fields(value) {
		if allowedClass(name) {
			kept = append(kept, name)
		} else {
			lost["class "+name]++
		}
	}
	return strings.Join(kept, " ")
}

func filterStyles(value string, lost map[string]int) string {
	var kept []string
	for declaration := range strings.SplitSeq(value, ";") {
		if declaration = strings.TrimSpace(declaration); declaration == "" {
			continue
		}
		property, setting, _ := strings.Cut(declaration, ":")
		property, setting = strings.ToLower(strings.TrimSpace(property)), strings.TrimSpace(setting)
		if allowedStyle(property, setting) {
			kept = append(kept, property+": "+setting)
		} else {
			lost["style "+property+": "+setting]++
		}
	}
	return strings.Join(kept, "; ")
}

// blocks are the elements that stand on a line of their own.
var blocks = setOf("blockquote", "caption", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "pre", "table", "tr", "ul")

// Text returns the plain text that NinjaOne derives from a rich text value for its "text" member.
// Each block element is a line, and a space separates the cells of a row.
func Text(value string) string {
	var lines []string
	var line strings.Builder
	end := func() {
		if text := strings.Join(strings.Fields(line.String()), " "); text != "" {
			lines = append(lines, text)
		}
		line.Reset()
	}
	tokens := html.NewTokenizer(strings.NewReader(value))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			end()
			return strings.Join(lines, "\n")
		case html.TextToken:
			line.WriteString(tokens.Token().Data)
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			switch name := tokens.Token().Data; {
			case blocks[name]:
				end()
			case name == "td" || name == "th":
				line.WriteByte(' ')
			}
		}
	}
}
