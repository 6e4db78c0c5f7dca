package compose

import (
	"strconv"
	"strings"
	"sync"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// This file is the only one that writes markup. It escapes every text; a [literal],
// a number and a [link] alone go out in other ways.

// markup collects the HTML of one value.
type markup struct {
	bytes []byte
	most  int // bytes; a value with more is given up
}

// markups are there to be used again: a value grows to some kilobytes.
var markups = sync.Pool{New: func() any { return new(markup) }}

// written returns the value that write writes, unless it has more than limit
// characters as [ninjaone.JSONLength] counts them. Such a character takes at most
// three bytes.
func written(limit int, write func(m *markup)) (value string, fits bool) {
	m := markups.Get().(*markup)
	defer markups.Put(m)
	m.bytes, m.most = m.bytes[:0], 3*limit
	write(m)
	if value = string(m.bytes); m.full() || ninjaone.JSONLength(value) > limit {
		return "", false
	}
	return value, true
}

// full reports that the value is too long, so that no more of it is needed.
func (m *markup) full() bool { return len(m.bytes) > m.most }

func (m *markup) raw(s literal) *markup {
	m.bytes = append(m.bytes, s...)
	return m
}

func (m *markup) number(n int) *markup {
	m.bytes = strconv.AppendInt(m.bytes, int64(n), 10)
	return m
}

// escaper replaces what could end a text or an attribute, as html/template does:
// NinjaOne holds values that were made by it.
var escaper = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")

func (m *markup) text(s string) *markup {
	m.bytes = append(m.bytes, escaper.Replace(s)...)
	return m
}

// anchor begins a link; class goes on after its attributes.
func (m *markup) anchor(href link, class literal) *markup {
	return m.raw(`<a href="`).text(string(href)).raw(`" target="_blank"`).raw(class).raw(`>`)
}

func (m *markup) page(p page) {
	if p.Heading != "" {
		m.heading(p.Heading)
	}
	for _, n := range p.Notices {
		m.notice(n)
	}
	if len(p.Widgets) > 0 {
		m.raw(`<div class="row g-3 pb-3">`)
		for _, w := range p.Widgets {
			m.widget(w)
		}
		m.raw(`</div>`)
	}
	if len(p.Cards) > 0 {
		m.raw(`<div class="row g-3">`)
		for _, c := range p.Cards {
			m.card(c)
		}
		m.raw(`</div>`)
	}
	m.table(p.Table)
}

func (m *markup) heading(name string) { m.raw(`<h3>`).text(name).raw(`</h3>`) }

func (m *markup) notice(n notice) {
	m.raw(`<div class="info-card`)
	if n.Class != "" {
		m.raw(` `).raw(n.Class)
	}
	m.raw(`"><i class="info-icon `).raw(n.Icon).raw(`"></i><div class="info-text"><div class="info-title">`).text(n.Title)
	m.raw(`</div><div class="info-description">`).text(n.Text)
	if n.Link.Href != "" {
		m.raw(` `).line(n.Link)
	}
	m.raw(`</div></div></div>`)
}

func (m *markup) widget(w widget) {
	m.raw(`<div class="col-xl-2 col-lg-3 col-md-4 col-sm-6 d-flex"><div class="stat-card flex-grow-1"><div class="stat-value">`)
	m.line(w.Value)
	m.raw(`</div><div class="stat-desc" style="word-break:break-word">`).text(w.Caption)
	if w.CIPP != "" {
		m.raw(` `).anchor(w.CIPP, "").raw(`CIPP</a>`)
	}
	m.raw(`</div></div></div>`)
}

func (m *markup) card(c card) {
	m.raw(`<div class="`).raw(c.Width.columns()).raw(`d-flex"><div class="card flex-grow-1"><div class="card-title-box">`)
	m.raw(`<div class="card-title"><i class="`).raw(c.Icon).raw(`"></i> `).text(c.Title).raw(`</div>`)
	if c.Href != "" || c.CIPP != "" {
		const class = ` class="card-link"`
		m.raw(`<div class="card-link-box">`)
		if c.Href != "" {
			m.anchor(c.Href, class).raw(`<i class="fas fa-arrow-up-right-from-square"></i> Open</a>`)
		}
		if c.CIPP != "" {
			m.raw(` `).anchor(c.CIPP, class).raw(`<i class="fas fa-compass"></i> CIPP</a>`)
		}
		m.raw(`</div>`)
	}
	m.raw(`</div><div class="card-body">`)
	if len(c.Facts) > 0 {
		m.raw(`<table><tbody>`)
		for _, f := range c.Facts {
			m.raw(`<tr><th>`).text(f.Label).raw(`</th>`).data(f.Value).raw(`</tr>`)
		}
		m.raw(`</tbody></table>`)
	}
	for i := range c.Bars {
		m.bar(&c.Bars[i])
	}
	m.cell(c.Lines)
	if len(c.Links) > 0 {
		m.raw(`<div class="row g-2">`)
		for _, l := range c.Links {
			m.raw(`<div class="col-sm-6">`).line(l).raw(`</div>`)
		}
		m.raw(`</div>`)
	}
	m.table(c.Table)
	m.raw(`</div></div></div>`)
}

func (m *markup) table(t *table) {
	if t == nil {
		return
	}
	if n := t.note(); n != nil {
		m.notice(*n)
	}
	if len(t.Rows) == 0 {
		return
	}
	m.raw(`<table><thead><tr>`)
	for _, s := range t.Head {
		m.raw(`<th>`).text(s).raw(`</th>`)
	}
	m.raw(`</tr></thead><tbody>`)
	for _, r := range t.Rows {
		if m.full() {
			return
		}
		m.raw(`<tr`)
		if r.Class != "" {
			m.raw(` class="`).raw(r.Class).raw(`"`)
		}
		m.raw(`>`)
		for _, c := range r.Cells {
			m.data(c)
		}
		m.raw(`</tr>`)
	}
	m.raw(`</tbody></table>`)
}

// data writes a cell of a table.
func (m *markup) data(c cell) *markup {
	m.raw(`<td`)
	if c.long() {
		m.raw(` style="word-break:break-word"`)
	}
	m.raw(`>`).cell(c)
	return m.raw(`</td>`)
}

func (m *markup) cell(c cell) {
	switch len(c.Lines) {
	case 0:
	case 1:
		m.line(c.Lines[0])
	default:
		m.raw(`<ul class="unstyled">`)
		for _, l := range c.Lines {
			m.raw(`<li>`).line(l).raw(`</li>`)
		}
		m.raw(`</ul>`)
	}
}

func (m *markup) line(l line) *markup {
	if l.Icon != "" {
		m.raw(`<i class="`).raw(l.Icon).raw(`"`)
		if l.Tone != neutral {
			m.raw(` style="color:`).raw(l.Tone.value()).raw(`"`)
		}
		m.raw(`></i> `)
	}
	if l.Href != "" {
		m.anchor(l.Href, "").text(l.Text).raw(`</a>`)
	} else {
		m.text(l.Text)
	}
	if l.Tail != "" {
		m.raw(` `).text(l.Tail)
	}
	if l.Bar != nil {
		m.bar(l.Bar)
	}
	return m
}

func (m *markup) bar(b *bar) {
	if b.Caption != "" {
		m.raw(`<p>`).text(b.Caption).raw(`</p>`)
	}
	m.raw(`<div class="linechart">`)
	for _, p := range b.Parts {
		if p.Percent != 0 {
			m.raw(`<div style="width:`).number(min(max(p.Percent, 0), 100)).raw(`%;background-color:`).raw(p.Tone.value()).raw(`"></div>`)
		}
	}
	m.raw(`</div>`)
	if b.Plain {
		return
	}
	m.raw(`<ul class="unstyled pt-3 pb-3">`)
	for _, p := range b.Parts {
		m.raw(`<li><span class="chart-key" style="background-color:`).raw(p.Tone.value()).raw(`"></span> <span>`).text(p.Label).raw(`</span></li>`)
	}
	m.raw(`</ul>`)
}
