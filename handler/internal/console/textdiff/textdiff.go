// Package textdiff compares the text of two values of NinjaOne's as a person reads it.
// It knows no value's meaning and no page, so that it can be fuzzed alone.
package textdiff

import (
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Line is one line of a comparison.
type Line struct {
	Kind string // "same", "added", "removed", or "gap" for lines that are left out
	Text string
	// Parts are the words of a line that takes another's place; nil where the
	// whole line is new.
	Parts []Part
	N     int // of a gap, how many
}

// Part is some words of a line.
type Part struct {
	Text    string
	Changed bool
}

// diffContext is how many unchanged lines are shown around a change.
const diffContext = 2

// breaks are the elements that begin a line of text.
var breaks = map[atom.Atom]bool{
	atom.Div: true, atom.P: true, atom.Tr: true, atom.Li: true, atom.Br: true, atom.H1: true, atom.H2: true, atom.H3: true,
	atom.H4: true, atom.H5: true, atom.Table: true, atom.Ul: true, atom.Thead: true, atom.Tbody: true,
}

// Lines is the text of a value as a person reads it, with where its links
// lead.
func Lines(value string) []string {
	var lines []string
	var line strings.Builder
	flush := func() {
		if text := strings.Join(strings.Fields(line.String()), " "); text != "" {
			lines = append(lines, text)
		}
		line.Reset()
	}
	var links []string
	z := html.NewTokenizer(strings.NewReader(value))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			flush()
			return lines
		}
		t := z.Token()
		switch kind {
		case html.TextToken:
			line.WriteString(t.Data)
		case html.StartTagToken, html.SelfClosingTagToken:
			switch {
			case breaks[t.DataAtom]:
				flush()
			case t.DataAtom == atom.Td || t.DataAtom == atom.Th:
				line.WriteString("  ")
				if strings.TrimSpace(line.String()) != "" {
					line.WriteString("· ")
				}
			case t.DataAtom == atom.A:
				links = append(links, attribute(t, "href"))
			case t.DataAtom == atom.I:
				line.WriteString(iconWord(attribute(t, "class")))
			}
		case html.EndTagToken:
			if t.DataAtom == atom.A && len(links) > 0 {
				if href := links[len(links)-1]; href != "" {
					line.WriteString(" <" + href + "> ")
				}
				links = links[:len(links)-1]
			}
			if breaks[t.DataAtom] {
				flush()
			}
		}
	}
}

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// iconWord stands for the icons that are a value in themselves.
func iconWord(class string) string {
	for icon, word := range map[string]string{"circle-check": "[yes]", "circle-xmark": "[no]", "triangle-exclamation": "[warning]", "circle-question": "[unknown]"} {
		if strings.Contains(class, "fa-"+icon) {
			return word + " "
		}
	}
	return ""
}

// Diff compares two texts line by line, and lines that take each other's place
// word by word. No lines mean that they are equal.
func Diff(before, after []string) []Line {
	hunks := compare(before, after, diffContext)
	var out []Line
	shown := 0 // lines of before that are shown or left out so far
	for _, h := range hunks {
		if n := h.FromLine - 1 - shown; n > 0 {
			out = append(out, Line{Kind: "gap", N: n})
			shown += n
		}
		var lines []Line
		for _, l := range h.Lines {
			line := Line{Kind: "same", Text: strings.TrimSuffix(l.Content, "\n")}
			switch l.Kind {
			case udiff.Insert:
				line.Kind = "added"
			case udiff.Delete:
				line.Kind = "removed"
			}
			if line.Kind != "added" {
				shown++
			}
			lines = append(lines, line)
		}
		markWords(lines)
		out = append(out, lines...)
	}
	if n := len(before) - shown; n > 0 && len(hunks) > 0 {
		out = append(out, Line{Kind: "gap", N: n})
	}
	return out
}

// compare returns where two lists of lines differ, with lines around it.
func compare(before, after []string, around int) []*udiff.Hunk {
	from, to := textOf(before), textOf(after)
	u, err := udiff.ToUnifiedDiff("", "", from, udiff.Lines(from, to), around)
	if err != nil {
		return nil // the edits are of this very text
	}
	return u.Hunks
}

// textOf is a text of lines, of which each is ended.
func textOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// markWords finds runs of removed lines with as many added lines in their place. It says
// which words of each differ.
func markWords(lines []Line) {
	for i := 0; i < len(lines); {
		n := 0
		for ; i+n < len(lines) && lines[i+n].Kind == "removed"; n++ {
		}
		m := 0
		for ; i+n+m < len(lines) && lines[i+n+m].Kind == "added"; m++ {
		}
		if n == m {
			for k := i; k < i+n; k++ {
				lines[k].Parts, lines[k+n].Parts = wordParts(lines[k].Text, lines[k+n].Text)
			}
		}
		i += max(1, n+m)
	}
}

// wordParts splits two lines into what they share and what they do not. It
// returns nothing where they share nothing, for then the whole line differs.
func wordParts(before, after string) (a, b []Part) {
	words := strings.Fields(before)
	add := func(parts []Part, word string, changed bool) []Part {
		if k := len(parts) - 1; k >= 0 && parts[k].Changed == changed {
			parts[k].Text += " " + word
			return parts
		}
		return append(parts, Part{word, changed})
	}
	shared := false
	for _, h := range compare(words, strings.Fields(after), len(words)) {
		for _, l := range h.Lines {
			word := strings.TrimSuffix(l.Content, "\n")
			if l.Kind != udiff.Insert {
				a = add(a, word, l.Kind == udiff.Delete)
			}
			if l.Kind != udiff.Delete {
				b = add(b, word, l.Kind == udiff.Insert)
			}
			shared = shared || l.Kind == udiff.Equal
		}
	}
	if !shared {
		return nil, nil
	}
	return a, b
}
