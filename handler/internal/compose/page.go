package compose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// Every field is a page: data that [markup] writes. So markup is written once, and
// a page is cut down without touching any.

// page is the content of one WYSIWYG field.
type page struct {
	Heading string // name of the tenant, where several share a field
	Notices []notice
	Widgets []widget
	Cards   []card
	Table   *table

	// Name and Brief stand for the whole page where there is room for a line only.
	Name  line
	Brief []line
}

// notice is an info card.
type notice struct {
	Class literal // "", success, warning or error
	Icon  literal
	Title string
	Text  string
	Link  line
}

// widget is a value or an icon with a caption and a link.
type widget struct {
	Value   line // its Href is the widget's link
	Caption string
	CIPP    link // the same subject in CIPP, or ""
}

// inCIPP gives the widget a second link, to its subject in CIPP.
func (w widget) inCIPP(href link) widget {
	w.CIPP = href
	return w
}

// card is a titled box. Its parts are shown in the order of the fields.
type card struct {
	Width cardWidth
	Icon  literal
	Title string
	Href  link // of the card's subject
	CIPP  link // the same subject in CIPP, or ""
	Facts []fact
	Bars  []bar
	Lines cell
	Links []line // shown side by side
	Table *table
}

// with returns the card with these lines.
func (c card) with(lines cell) card {
	c.Lines = lines
	return c
}

// cardWidth is how much of a row a card takes on a wide screen.
type cardWidth int

const (
	third cardWidth = iota
	half
	full
)

// columns are the classes of the card's place in the grid. The whole row is "", and any
// place takes it on a narrow screen.
func (w cardWidth) columns() literal {
	return [...]literal{third: "col-xl-4 col-lg-6 ", half: "col-xl-6 ", full: ""}[w]
}

// fact is one line of a card: a label and a value.
type fact struct {
	Label string
	Value cell
}

// factText is a fact of one text, with words for none.
func factText(label, value string) fact { return fact{label, one(orElse(value, "Not known"))} }

// known drops the facts that have nothing to say.
func known(facts ...fact) []fact {
	return slices.DeleteFunc(facts, func(f fact) bool {
		return !slices.ContainsFunc(f.Value.Lines, func(l line) bool { return l.Text != "" })
	})
}

// cell is a list of lines.
type cell struct {
	Lines []line
	More  line // where the lines that are not shown can be seen; may be empty
}

// lines returns a cell of the given lines.
func lines(l ...line) cell { return cell{Lines: l} }

// one returns a cell of one line of text.
func one(s string) cell { return lines(line{Text: s}) }

// absent returns a cell that says why something was not read.
func absent(reason string) cell { return lines(unavailableLine(reason)) }

// longWord is the length in bytes above which a word may break. Otherwise it would push
// its neighbours out of the card.
const longWord = 24

// long reports whether the cell holds a word that may be broken.
func (c cell) long() bool {
	for _, l := range c.Lines {
		for _, s := range []string{l.Text, l.Tail} {
			if len(s) <= longWord {
				continue
			}
			for w := range strings.FieldsSeq(s) {
				if len(w) > longWord {
					return true
				}
			}
		}
	}
	return false
}

// line is the smallest piece. It has an icon, a text that may be a link, a text after it,
// and a bar below.
type line struct {
	Icon literal
	Tone tone
	Text string
	Href link
	Tail string
	Bar  *bar
}

// bar is one horizontal bar.
type bar struct {
	Caption string
	Parts   []part
	Plain   bool // without a legend
}

// part is one part of a bar.
type part struct {
	Tone    tone
	Percent int
	Label   string
}

// table is a list of rows under a head.
type table struct {
	Head []string
	Rows []row
	Noun [2]string // what a row is: "group", "groups"
	Full line      // link to the full list
	// Total is how many rows there are; Rows may hold only the first of them.
	Total int
	Order string // which the first are; "" for "In order of name"
}

// note tells how many rows are not shown; nil when all are.
func (t *table) note() *notice {
	total, shown := max(t.Total, len(t.Rows)), len(t.Rows)
	switch {
	case shown == total:
		return nil
	case shown == 0:
		return &notice{Icon: iconInfo, Title: fmt.Sprintf("%s not shown", plural(total, t.Noun[0], t.Noun[1])),
			Text: "They do not fit into this field.", Link: t.Full}
	}
	return &notice{Icon: iconInfo, Title: fmt.Sprintf("The first %s of %s %s", count(shown), count(total), t.Noun[1]),
		Text: fmt.Sprintf("%s; %s not shown.", cmp.Or(t.Order, "In order of name"), count(total-shown)), Link: t.Full}
}

// row is one row of a table; Class is one of NinjaOne's row states.
type row struct {
	Class literal
	Cells []cell
}

// limited returns the page with at most n rows in any table and n lines in any cell. A
// cell keeps at least one. Each cut has a line that says what is missing. Short lists
// stay whole while long ones give way.
func (p page) limited(n int) page {
	cards := make([]card, len(p.Cards))
	for i, c := range p.Cards {
		facts := make([]fact, len(c.Facts))
		for j, f := range c.Facts {
			facts[j] = fact{f.Label, f.Value.limited(n)}
		}
		c.Facts, c.Lines, c.Table = facts, c.Lines.limited(n), c.Table.limited(n)
		cards[i] = c
	}
	p.Cards, p.Table = cards, p.Table.limited(n)
	return p
}

func (c cell) limited(n int) cell {
	n = max(n, 1)
	if len(c.Lines) <= n {
		return c
	}
	hidden := line{Text: count(len(c.Lines)-n) + " more", Href: c.More.Href}
	return cell{Lines: append(append(make([]line, 0, n+1), c.Lines[:n]...), hidden)}
}

func (t *table) limited(n int) *table {
	if t == nil {
		return nil
	}
	cut := *t
	cut.Total = max(t.Total, len(t.Rows))
	cut.Rows = make([]row, min(n, len(t.Rows)))
	for i := range cut.Rows {
		cells := make([]cell, len(t.Rows[i].Cells))
		for j, c := range t.Rows[i].Cells {
			cells[j] = c.limited(n)
		}
		cut.Rows[i] = row{t.Rows[i].Class, cells}
	}
	return &cut
}

// longest returns the length of the page's longest list.
func (p page) longest() int {
	n := 1
	tableMax := func(t *table) {
		if t == nil {
			return
		}
		n = max(n, len(t.Rows))
		for _, r := range t.Rows {
			for _, c := range r.Cells {
				n = max(n, len(c.Lines))
			}
		}
	}
	for _, c := range p.Cards {
		for _, f := range c.Facts {
			n = max(n, len(f.Value.Lines))
		}
		n = max(n, len(c.Lines.Lines))
		tableMax(c.Table)
	}
	tableMax(p.Table)
	return n
}

// Cut is what of a page gave way to the limit of its length.
type Cut int

// The steps in which a page gives way.
const (
	Whole Cut = iota
	FewerRows
	FewerCards
	OneLine  // the name, the most important numbers and links
	NameOnly // linked
	NotShown
)

// String says how a page shows its subject, in the words of a logbook line.
func (c Cut) String() string {
	return [...]string{"whole", "with fewer rows", "with fewer cards", "in one line", "by name alone", "not at all"}[c]
}

// html returns the page as a field takes it. Without rows and cards any page fits, since
// its texts are clipped.
func (p page) html() string {
	s, _ := p.fit(ninjaone.MaxHTML)
	return s
}

// fit returns the page as HTML of at most limit characters, and what had to give way.
func (p page) fit(limit int) (string, Cut) {
	for cut := Whole; cut < NotShown; cut++ {
		if s, fits := p.cut(cut, limit); fits {
			return s, cut
		}
	}
	return "", NotShown
}

// cut renders the page in one of the steps, if that fits.
func (p page) cut(step Cut, limit int) (string, bool) {
	switch step {
	case Whole:
		return written(limit, func(m *markup) { m.page(p) })
	case FewerRows:
		return p.fewerRows(limit)
	case FewerCards:
		return p.fewerCards(limit)
	case OneLine:
		return inOneLine(append([]line{p.Name}, p.Brief...), limit)
	}
	return inOneLine([]line{p.Name}, limit)
}

// fewerRows renders as many rows as fit.
func (p page) fewerRows(limit int) (best string, fits bool) {
	for low, high := 0, p.longest()-1; low <= high; {
		n := (low + high) / 2
		if s, ok := p.limited(n).cut(Whole, limit); ok {
			best, fits, low = s, true, n+1
		} else {
			high = n - 1
		}
	}
	return best, fits
}

// fewerCards renders as many cards as fit, without rows.
func (p page) fewerCards(limit int) (string, bool) {
	all := p.limited(0)
	for n := len(all.Cards) - 1; n >= 0; n-- {
		few := all
		few.Cards = all.Cards[:n]
		few.Notices = append(slices.Clone(all.Notices), notice{Icon: iconInfo,
			Title: plural(len(all.Cards)-n, "card", "cards") + " not shown", Text: "There is no room for more in this field.", Link: p.Name})
		if s, fits := few.cut(Whole, limit); fits {
			return s, true
		}
	}
	return "", false
}

// inOneLine renders lines side by side; a page may have none.
func inOneLine(all []line, limit int) (string, bool) {
	if all[0].Text == "" {
		return "", false
	}
	return written(limit, func(m *markup) {
		m.raw(`<p>`)
		for _, l := range all {
			m.line(l).raw(` `)
		}
		m.raw(`</p>`)
	})
}
