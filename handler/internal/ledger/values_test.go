package ledger

import (
	"maps"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
)

func TestKept(t *testing.T) {
	text, rich := ninjaone.Text("Compliant"), ninjaone.HTML("<p>a</p>")
	tests := map[string]struct {
		field string
		keep  []ninjaone.Value // in this order
		noted string
		want  map[string]Value
	}{
		"text":                         {"f", []ninjaone.Value{text}, Digest(text), map[string]Value{"f": {"Compliant", true}}},
		"HTML":                         {"f", []ninjaone.Value{rich}, Digest(rich), map[string]Value{"f": {"<p>a</p>", true}}},
		"the newer value":              {"f", []ninjaone.Value{text, rich}, Digest(rich), map[string]Value{"f": {"<p>a</p>", true}}},
		"a name with other letters":    {"größe-2 x", []ninjaone.Value{text}, Digest(text), map[string]Value{"größe-2 x": {"Compliant", true}}},
		"another value on its way":     {"f", []ninjaone.Value{text}, Unknown, map[string]Value{"f": {"Compliant", false}}},
		"another value noted":          {"f", []ninjaone.Value{text}, Digest(rich), map[string]Value{}},
		"cleared":                      {"f", []ninjaone.Value{text, ninjaone.Clear()}, Cleared, map[string]Value{"f": {"", true}}},
		"cleared by an older handler":  {"f", []ninjaone.Value{text}, Cleared, map[string]Value{"f": {"", true}}},
		"never kept":                   {"f", nil, Digest(text), map[string]Value{}},
		"a name too long for a column": {strings.Repeat("x", 255), []ninjaone.Value{text}, Digest(text), map[string]Value{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			row := storage.Entity{}
			for _, v := range tt.keep {
				Keep(row, tt.field, v)
			}
			if got := Kept(row, map[string]string{tt.field: tt.noted}); !maps.Equal(got, tt.want) {
				t.Errorf("kept %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFieldsHaveColumnsOfTheirOwn(t *testing.T) {
	seen := map[string]string{}
	for _, field := range []string{"a", "A", "a_", "a-", "a_2d_", "a-2d-", "ä", "aä", "_"} {
		column, ok := columnOf(field)
		if other, taken := seen[column]; taken || !ok {
			t.Errorf("%q and %q share the column %s", field, other, column)
		}
		seen[column] = field
		if strings.ContainsFunc(column, func(r rune) bool {
			return !(r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
		}) {
			t.Errorf("%q is no name of a column", column)
		}
	}
}

func TestADamagedValueIsNoValue(t *testing.T) {
	row := storage.Entity{}
	Keep(row, "f", ninjaone.HTML(strings.Repeat("a", 1000)))
	column, _ := columnOf("f")
	for _, content := range [][]byte{{1, 2, 3}, row[column].([]byte)[:5], storage.Deflate([]byte(`{"text":"x"}`)), storage.Deflate([]byte(`[`))} {
		if kept := Kept(storage.Entity{column: content}, map[string]string{"f": Unknown}); len(kept) != 0 {
			t.Errorf("%v gives %v", content, kept)
		}
	}
}
