package match

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// legalForms are the words that say what kind of company a name belongs to,
// as normalized text. A form of several words, such as "Sp. z o.o.", is
// written as one.
var legalForms = set(
	// English
	"ltd", "limited", "plc", "llp", "llc", "lllp", "pllc", "inc", "incorporated",
	"corp", "corporation", "co", "company", "pty", "proprietary", "pte", "pvt", "cic",
	// German
	"gmbh", "ggmbh", "mbh", "ag", "kg", "kgaa", "ohg", "gbr", "ug", "haftungsbeschrankt", "ev", "eg", "ek", "se",
	// Dutch and Belgian
	"bv", "nv", "vof", "cv", "bvba", "sprl", "cvba", "vzw", "asbl",
	// French, Swiss, Luxembourgish
	"sa", "sas", "sasu", "sarl", "eurl", "snc", "sci",
	// Italian
	"spa", "srl", "srls", "sapa",
	// Spanish and Portuguese
	"sl", "slu", "slp", "lda", "ltda",
	// Nordic
	"ab", "hb", "as", "asa", "ans", "aps", "oy", "oyj",
	// Central and Eastern European, Baltic
	"sro", "spzoo", "doo", "dd", "zrt", "kft", "nyrt", "ood", "eood", "ou", "uab",
	// Asian
	"kk", "gk", "bhd", "sdn",
)

// connectors are the words that stand for "&", which is punctuation.
var connectors = set("and", "und", "et")

// longestForm is the greatest number of words that legalForms takes for one:
// Sp. z o. o.
const longestForm = 4

// specialLetters are Latin letters with an accent or stroke that Unicode does not take
// apart into letter and mark.
var specialLetters = strings.NewReplacer("ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "æ", "ae", "œ", "oe", "ħ", "h", "ŧ", "t", "ı", "i")

// organizationKey returns what the rules compare of an organization's or tenant's name:
// letters and digits. It drops case, accents, punctuation, white space, "and", and the
// legal forms at the end. It is "" for a name without letters and digits. It never loses
// the last word of one that has any.
func organizationKey(name string) string {
	words := organizationWords(name)
	for len(words) > 1 {
		n := legalForm(words)
		if n == 0 {
			break
		}
		words = words[:len(words)-n]
	}
	// Marks that end and begin words meet here, and have an order.
	return norm.NFKD.String(strings.Join(words, ""))
}

// organizationWords splits a normalized name into words.
func organizationWords(name string) []string {
	var b strings.Builder
	for _, r := range unaccented(name) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			b.WriteRune(r)
		case r == '.', r == '\'', r == '’', r == '`', unicode.In(r, unicode.Cf):
			// Within a word: S.A., e.V., O'Neill, a zero-width space.
		default:
			b.WriteByte(' ')
		}
	}
	words := strings.Fields(b.String())
	kept := make([]string, 0, len(words))
	for _, w := range words {
		if !connectors[w] {
			kept = append(kept, w)
		}
	}
	if len(kept) == 0 {
		return words
	}
	return kept
}

// unaccented folds case and compatibility forms and removes accents. It repeats that
// until nothing changes, four times at most: removing one can bring about another.
func unaccented(s string) string {
	for range 4 {
		before := s
		s = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(s)))
		s = strings.Map(func(r rune) rune {
			if r >= 0x300 && r <= 0x36f { // the block Combining Diacritical Marks
				return -1
			}
			return r
		}, s)
		s = specialLetters.Replace(s)
		if s == before {
			break
		}
	}
	return s
}

// legalForm returns how many words at the end of a name are a legal form. The first word
// never is. A form of several words has short ones only.
func legalForm(words []string) int {
	for n := min(longestForm, len(words)-1); n > 0; n-- {
		tail := words[len(words)-n:]
		if legalForms[strings.Join(tail, "")] && (n == 1 || short(tail)) {
			return n
		}
	}
	return 0
}

func short(words []string) bool {
	for _, w := range words {
		if len(w) > 2 {
			return false
		}
	}
	return true
}
