package match

import (
	"strings"
	"testing"
)

func TestOrganizationKey(t *testing.T) {
	same := [][]string{
		{"Lamna", "LAMNA", "Lamna Ltd", "Lamna, Ltd.", "Lamna Limited", "Lamna PLC", "Lamna L.L.C.", "Lamna LLP", "Lamna Inc",
			"Lamna GmbH", "Lamna GmbH & Co. KG", "Lamna AG", "Lamna e.V.", "Lamna UG (haftungsbeschränkt)", "Lamna B.V.", "Lamna N.V.",
			"Lamna S.A.", "Lamna S. A.", "Lamna SAS", "Lamna SARL", "Lamna S.p.A.", "Lamna Srl", "Lamna S.R.L.", "Lamna Pty Ltd",
			"Lamna Oy", "Lamna AB", "Lamna AS", "Lamna A/S", "Lamna ApS", "Lamna Sp. z o.o.", "Lamna Sp.zo.o.", "Lamna s.r.o.", "Lamna d.o.o.",
			"  Lämna  ", "Lam\u200bna", "'Lamna'", "Ｌａｍｎａ", "Lamna Co., Ltd."},
		{"Müller & Söhne", "Muller und Sohne GmbH", "MÜLLER SÖHNE", "müller and söhne"},
		{"Straße Øresund", "STRASSE ORESUND ApS"},
		{"O'Neill Łódź", "ONeill Lodz", "O’NEILL ŁÓDŹ Sp. z o.o."},
		{"A. Datum", "A.Datum", "ADatum", "a-datum"},
		{"Ltd", "LTD.", "Ltd Ltd"},
	}
	keys := map[string]string{}
	for _, group := range same {
		want := organizationKey(group[0])
		if other, known := keys[want]; known {
			t.Errorf("%q and %q have the same key", group[0], other)
		}
		keys[want] = group[0]
		for _, name := range group {
			t.Run(name, func(t *testing.T) {
				if got := organizationKey(name); got != want || got == "" {
					t.Errorf("key %q, want %q as %q has", got, want, group[0])
				}
			})
		}
	}
	for _, name := range []string{"", " ", "***", "- / -", "\u0301", "\u200b"} {
		if got := organizationKey(name); got != "" {
			t.Errorf("%q has the key %q, want none", name, got)
		}
	}
	for name, want := range map[string]string{
		"City Zoo":            "cityzoo",
		"Group 7 Ltd (UK)":    "group7ltduk",
		"Coho Vineyard":       "cohovineyard",
		"Costa":               "costa", // ends in "sa", which is no word of its own
		"Lamna Co Operative":  "lamnacooperative",
		"ไทย ลัมนา":           "ไทยลัมนา", // vowel signs are no accents
		"The Phone Company":   "thephone",
		"Van Arsdel, Ltd LLC": "vanarsdel",
	} {
		if got, want := organizationKey(name), unaccented(want); got != want {
			t.Errorf("%q has the key %q, want %q", name, got, want)
		}
	}
}

func FuzzOrganizationKey(f *testing.F) {
	for _, s := range []string{
		"", "Lamna", "Lamna GmbH & Co. KG", "A/S", "Sp. z o.o.", "and and", "Müller und Söhne", "\u0130stanbul A.Ş.", "ŉ \u1e9e ß",
		"株式会社ラムナ", "\xff\xfe Ltd", "\u212b ngstrom", "e\u0301\u0327", "ǆ Ǆ", "ﬀ Ltd", "Lamna\u00a0Ltd", "\u03b1\u0345", "\u06d9\xdb\u06e3",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := organizationKey(s)
		if again := organizationKey(key); again != key {
			t.Errorf("%q has the key %q, and that has %q", s, key, again)
		}
		if i := strings.IndexFunc(key, func(r rune) bool { return r == ' ' || r >= 'A' && r <= 'Z' || r < 0x80 && notAlphanumeric(r) }); i >= 0 {
			t.Errorf("%q has the key %q", s, key)
		}
		if spaced := organizationKey(" \u200b" + s + "\t\n"); spaced != key {
			t.Errorf("%q has the key %q, and %q with white space around", s, key, spaced)
		}
		if words := organizationWords(s); len(words) > 0 && key == "" {
			t.Errorf("%q has words but no key", s)
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < 0x80 && !notAlphanumeric(r) }) && key == "" {
			t.Errorf("%q has letters or digits but no key", s)
		}
	})
}
