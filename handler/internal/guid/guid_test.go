package guid

import "testing"

func TestParse(t *testing.T) {
	const want = "6f1c1b1e-0000-4000-8000-00000000000a"
	for text, want := range map[string]string{
		want: want, " 6F1C1B1E-0000-4000-8000-00000000000A\n": want,
		"": "", "{6f1c1b1e-0000-4000-8000-00000000000a}": "", "6f1c1b1e00004000800000000000000a": "", "urn:uuid:" + want: "",
		"6f1c1b1e-0000-4000-8000-00000000000g": "", "6f1c1b1e-00004-000-8000-00000000000a": "", "contoso.example": "",
	} {
		if got := Parse(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := Fold(" S-1-12-1 "); got != "s-1-12-1" {
		t.Errorf("an id that is not a GUID became %q", got)
	}
}
