package words

import "testing"

func TestSentence(t *testing.T) {
	for text, want := range map[string][2]string{
		"":                           {"", ""},
		" \n ":                       {"", ""},
		"it failed":                  {"it failed.", "It failed."},
		"it failed.":                 {"it failed.", "It failed."},
		"one problem:\n\tthe other ": {"one problem: the other.", "One problem: the other."},
		"écrire":                     {"écrire.", "Écrire."},
		"and so on …":                {"and so on …", "And so on …"},
	} {
		if End(text) != want[0] || Sentence(text) != want[1] {
			t.Errorf("%q became %q and %q, want %q", text, End(text), Sentence(text), want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		limit      int
	}{
		{"short", "short", 5},
		{"longer", "long…", 5},
		{"four more", "four…", 6},
		{"äöüß", "äöüß", 4},
		{"äöüßä", "äöü…", 4},
		{"ab\xffcd", "ab…", 3},
	} {
		if got := Clip(tt.text, tt.limit); got != tt.want {
			t.Errorf("%q within %d became %q, want %q", tt.text, tt.limit, got, tt.want)
		}
	}
}
