package textdiff

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"
)

func TestTextLines(t *testing.T) {
	tests := []struct {
		name, value string
		want        []string
	}{
		{"empty", "", nil},
		{"text alone", "a &amp; b", []string{"a & b"}},
		{"blocks", "<div><p>one</p><p> two <b>three</b></p></div>", []string{"one", "two three"}},
		{"a table", "<table><tr><th>Name</th><td>X</td></tr><tr><td>a</td><td>b</td></tr></table>", []string{"Name · X", "a · b"}},
		{"a link", `<p><a href="https://contoso.example/?a=1&amp;b=2">Open</a></p>`, []string{"Open <https://contoso.example/?a=1&b=2>"}},
		{"an icon", `<p><i class="fas fa-circle-check"></i> yes</p>`, []string{"[yes] yes"}},
		{"broken", "<p>one<p>two</a><", []string{"one", "two<"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Lines(tt.value); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	tests := []struct{ name, before, after, want string }{
		{"equal", "a b", "a b", ""},
		{"added", "a b", "a x b", " a +x  b"},
		{"removed", "a x b", "a b", " a -x  b"},
		{"replaced", "a x b", "a y b", " a -x +y  b"},
		{"all new", "", "a b", "+a +b"},
		{"far from the change", "a b c d e f g h", "a b c d X f g h", "2  c  d -e +X  f  g 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range Diff(strings.Fields(tt.before), strings.Fields(tt.after)) {
				got = append(got, map[string]string{"same": " ", "added": "+", "removed": "-", "gap": fmt.Sprint(l.N)}[l.Kind]+l.Text)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q, want %q", strings.Join(got, " "), tt.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	lines := Diff([]string{"Licences", "Ada Example · E3 · last seen 2026-11-01"}, []string{"Licences", "Ada Example · E5 · last seen 2026-11-20", "Ben Example"})
	if len(lines) != 4 || lines[1].Parts != nil {
		t.Errorf("two lines for one: %+v", lines)
	}
	lines = Diff([]string{"Ada Example · E3 · last seen 2026-11-01"}, []string{"Ada Example · E5 · last seen 2026-11-20"})
	want := []Part{{"Ada Example ·", false}, {"E3", true}, {"· last seen", false}, {"2026-11-01", true}}
	if len(lines) != 2 || !slices.Equal(lines[0].Parts, want) || lines[1].Parts[1] != (Part{"E5", true}) {
		t.Errorf("%+v", lines)
	}
	if lines = Diff([]string{"one two"}, []string{"three four"}); lines[0].Parts != nil || lines[1].Parts != nil {
		t.Errorf("nothing is shared: %+v", lines)
	}
}

// FuzzDiff: both texts can be read off a comparison.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc", "a\nx\nc")
	f.Add("", "<p>a</p>")
	f.Add("<table><tr><td>1", "<br><br><br>2")
	f.Fuzz(func(t *testing.T, before, after string) {
		a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
		var was, is []string
		was, is = append(was, a...), append(is, b...)
		if hunks := compare(a, b, len(a)); len(hunks) > 0 {
			was, is = nil, nil
			for _, l := range hunks[0].Lines {
				if text := strings.TrimSuffix(l.Content, "\n"); l.Kind != udiff.Insert {
					was = append(was, text)
				}
				if text := strings.TrimSuffix(l.Content, "\n"); l.Kind != udiff.Delete {
					is = append(is, text)
				}
			}
		}
		for _, l := range Diff(a, b) {
			var words []string
			for _, p := range l.Parts {
				words = append(words, p.Text)
			}
			if len(l.Parts) > 0 && !slices.Equal(strings.Fields(strings.Join(words, " ")), strings.Fields(l.Text)) {
				t.Errorf("the words %q are not those of %q", words, l.Text)
			}
		}
		if !slices.Equal(was, a) || !slices.Equal(is, b) {
			t.Errorf("the comparison says %q and %q, and not %q and %q", was, is, a, b)
		}
		for _, line := range Lines(before) {
			if strings.TrimSpace(line) != line || line == "" || strings.Contains(line, "\n") {
				t.Errorf("%q is no line of text", line)
			}
		}
	})
}
