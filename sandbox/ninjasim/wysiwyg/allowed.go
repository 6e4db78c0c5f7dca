package wysiwyg

import (
	"regexp"
	"strings"
)

// elements are the only ones that survive. Other tags go and their text stays, unless it is code
// (script, style and their like). Whether b, strong, br and colgroup survive is disputed, so they
// do not.
var elements = []string{
	"a", "blockquote", "caption", "code", "col", "div", "h1", "h2", "h3", "h4", "h5", "h6", "i", "li", "ol", "p", "pre",
	"span", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
}

// classes are the class names that NinjaOne styles, apart from those that classPattern describes.
var classes = setOf(
	"card", "card-title-box", "card-title", "card-link-box", "card-link", "card-body", "card-text",
	"info-card", "success", "warning", "error", "info-icon", "info-text", "info-title", "info-description",
	"stat-card", "stat-value", "stat-desc",
	"danger", "other", "unknown",
	"btn", "secondary",
	"tag", "disabled", "expired",
	"linechart", "unstyled", "chart-key",
	"charts-css", "bar", "column", "line", "area", "pie", "show-heading", "show-labels", "show-primary-axis",
	"show-10-secondary-axes", "show-data-on-hover", "multiple", "legend", "legend-inline", "legend-rectangle", "data",
	"row", "col", "d-flex", "flex-grow-1", "p-3", "pt-3", "pb-3", "m-1", "text-decoration-none", "field-container",
	"fas", "fab", "fa-solid", "fa-brands",
)

// classPattern matches the families: grid columns, gutters, alignment, and Font Awesome icons and sizes.
var classPattern = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`col-(?:sm|md|lg|xl|xxl)-(?:[1-9]|1[0-2])`,
	`row-cols-(?:(?:sm|md|lg|xl|xxl)-)?(?:[1-6]|auto)`,
	`g[xy]?-[0-5]`,
	`justify-content-(?:(?:sm|md|lg|xl|xxl)-)?(?:start|end|center|between|around|evenly)`,
	`align-items-(?:(?:sm|md|lg|xl|xxl)-)?(?:start|end|center|baseline|stretch)`,
	`fa-[a-z0-9]+(?:-[a-z0-9]+)*`,
}, "|") + `)$`)

const (
	length  = `-?(?:\d+(?:\.\d+)?|\.\d+)(?:px|em|rem|ex|ch|vw|vh|vmin|vmax|cm|mm|in|pt|pc|%)`
	measure = `(?:0|` + length + `)`
	number  = `(?:\d{1,3}(?:\.\d+)?|\.\d+)`
)

var (
	one      = exactly(measure)
	upToFour = exactly(measure + `(?: ` + measure + `){0,3}`)
	unit     = exactly(`(?:0(?:\.\d+)?|\.\d+|1(?:\.0+)?)`)
	colour   = exactly(`#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})`,
		`rgb\( ?`+number+` ?, ?`+number+` ?, ?`+number+`(?: ?, ?`+number+`%?)? ?\)`)
	alignment = exactly("start", "end", "left", "center", "right", "justify", "justify-all", "match-parent")
)

// styles are the properties that may stand in a style attribute, and what their values must look
// like. The patterns compare values in lower case with single spaces.
var styles = map[string]*regexp.Regexp{
	"color":            colour,
	"background-color": colour,
	"border-color":     colour,
	"display":          exactly("block", "inline", "inline-block", "flex", "inline-flex"),
	"justify-content": exactly("center", "start", "end", "flex-start", "flex-end", "left", "right", "normal", "space-between",
		"space-around", "space-evenly"),
	"align-items":     exactly("center", "start", "end", "flex-start", "flex-end", "left", "right", "normal", "stretch"),
	"text-align":      alignment,
	"word-break":      exactly("normal", "break-all", "keep-all", "break-word"),
	"white-space":     exactly("normal", "no-wrap", "pre", "pre-wrap", "pre-line", "break-spaces"),
	"overflow-wrap":   exactly("normal", "break-word", "pre", "anywhere"),
	"box-sizing":      exactly("border-box", "content-box"),
	"font-family":     exactly("serif", "sans-serif", "monospace", "cursive", "fantasy", "system-ui", "emoji"),
	"font-size":       one,
	"width":           one,
	"height":          one,
	"margin":          upToFour,
	"margin-top":      one,
	"margin-right":    one,
	"margin-bottom":   one,
	"margin-left":     one,
	"padding":         upToFour,
	"padding-top":     one,
	"padding-right":   one,
	"padding-bottom":  one,
	"padding-left":    one,
	"border-width":    upToFour,
	"border-radius":   upToFour,
	"border-top":      one,
	"border-right":    one,
	"border-bottom":   one,
	"border-left":     one,
	"border-style":    exactly("none", "solid", "dashed", "inset", "outset"),
	"border-collapse": exactly("collapse", "separate"),
	"--size":          unit,
	"--start":         unit,
	"--end":           unit,
}

// exactly compiles the alternatives into an expression that the whole value has to match.
func exactly(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join(alternatives, "|") + `)$`)
}

func setOf(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func allowedClass(name string) bool { return classes[name] || classPattern.MatchString(name) }

func allowedStyle(property, value string) bool {
	rule, ok := styles[property]
	return ok && rule.MatchString(strings.ToLower(strings.Join(strings.Fields(value), " ")))
}
