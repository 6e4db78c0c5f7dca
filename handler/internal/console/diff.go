package console

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// diffLine is one line of a comparison.
type diffLine struct {
	Kind string // "same", "added", "removed", or "gap" for lines that are left out
	Text string
	N    int // of a gap, how many
}

const (
	diffContext = 2       // unchanged lines shown around a change
	diffCells   = 4 << 20 // comparisons above this size are not done line by line
)

// breaks are the elements that begin a line of text.
var breaks = map[atom.Atom]bool{
	atom.Div: true, atom.P: true, atom.Tr: true, atom.Li: true, atom.Br: true, atom.H1: true, atom.H2: true, atom.H3: true,
	atom.H4: true, atom.H5: true, atom.Table: true, atom.Ul: true, atom.Thead: true, atom.Tbody: true,
}

// textLines is the text of a value as a person reads it, with where its links
// lead.
func textLines(value string) []string {
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

// diff compares two texts line by line. No lines mean that they are equal.
func diff(before, after []string) []diffLine {
	start := 0
	for start < len(before) && start < len(after) && before[start] == after[start] {
		start++
	}
	end := 0
	for end < len(before)-start && end < len(after)-start && before[len(before)-1-end] == after[len(after)-1-end] {
		end++
	}
	a, b := before[start:len(before)-end], after[start:len(after)-end]
	if len(a)+len(b) == 0 {
		return nil
	}
	var all []diffLine
	for _, text := range before[:start] {
		all = append(all, diffLine{Kind: "same", Text: text})
	}
	all = append(all, middle(a, b)...)
	for _, text := range before[len(before)-end:] {
		all = append(all, diffLine{Kind: "same", Text: text})
	}
	return folded(all)
}

// middle compares by the longest common subsequence.
func middle(a, b []string) []diffLine {
	var out []diffLine
	if len(a)*len(b) > diffCells {
		for _, text := range a {
			out = append(out, diffLine{Kind: "removed", Text: text})
		}
		for _, text := range b {
			out = append(out, diffLine{Kind: "added", Text: text})
		}
		return out
	}
	width := len(b) + 1
	longest := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				longest[i*width+j] = longest[(i+1)*width+j+1] + 1
			} else {
				longest[i*width+j] = max(longest[(i+1)*width+j], longest[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, diffLine{Kind: "same", Text: a[i]})
			i, j = i+1, j+1
		case j == len(b) || (i < len(a) && longest[(i+1)*width+j] >= longest[i*width+j+1]):
			out = append(out, diffLine{Kind: "removed", Text: a[i]})
			i++
		default:
			out = append(out, diffLine{Kind: "added", Text: b[j]})
			j++
		}
	}
	return out
}

// folded leaves unchanged lines out that are far from every change.
func folded(all []diffLine) []diffLine {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Kind == "same" {
			continue
		}
		for k := max(0, i-diffContext); k <= min(len(all)-1, i+diffContext); k++ {
			near[k] = true
		}
	}
	var out []diffLine
	for i, l := range all {
		switch {
		case near[i]:
			out = append(out, l)
		case len(out) > 0 && out[len(out)-1].Kind == "gap":
			out[len(out)-1].N++
		default:
			out = append(out, diffLine{Kind: "gap", N: 1})
		}
	}
	return out
}
