package match

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Nobody can list what firmware, hypervisors, management agents and people give in place
// of a serial number. Three rules find it. A number that a maker gave out breaks each of
// them by its letters and digits:
//
//   - it is a sequence, or made of sequences: 0123456789ABCDEF, 123456789000,
//     MB-1234567890;
//   - it repeats itself: 00000000, 0101010101;
//   - it is words of a template, with no more than a trivial number:
//     "To be filled by O.E.M.", serialnumber0, <OUT OF SPEC>. Or it is words alone,
//     whichever: "American Megatrends".

const (
	// longRun is how long a sequence must be to outweigh the letters around it:
	// SYS-1234567890. Serial numbers of makers count seven digits in a row.
	longRun = 9
	// wholeRun is how long a sequence must be to outweigh a model's letters and digits
	// around it: R300-1234567890. It has every digit.
	wholeRun = 10
	// countedRun is how long a sequence must be that counts from 1, or down, after letters:
	// MB-12345678.
	countedRun = 8
	// longFill is the same for one character that is repeated: SN-XXXXXXX.
	longFill = 7
	// maxPadding is how many letters and zeros may stand around these.
	maxPadding = 5
	// trivialNumber is how many digits a template may have: Default string 001.
	trivialNumber = 3
	// accident is how many characters have to follow from the others of a text to rule out
	// that they do so by accident.
	accident = 4
	// wordVowels is how many vowels words have. Numbers that makers give out have digits,
	// or hardly a vowel.
	wordVowels = 2
)

// templateWords are words of templates. Those of six letters and more prove a template
// wherever they stand. The others prove one where all words around are known.
var templateWords = strings.Fields(`
	SERIAL NUMBER SYSTEM DEFAULT STRING FILLED SPECIFIED UNSPECIFIED DEFINED UNDEFINED UNKNOWN INVALID
	APPLICABLE AVAILABLE UNAVAILABLE ASSIGNED UNASSIGNED CHASSIS BASEBOARD MOTHERBOARD MANUFACTURER PRODUCT
	ENCLOSURE PLACEHOLDER PROVIDED SUPPORTED PRESENT INITIALIZED PROGRAMMED EVALUATION ENGINEERING STANDARD
	PERMISSION SETTABLE DENIED RESERVED UNSET REFUSED MISSING CHANGEME FACTORY INFORMATION VIRTUALPLATFORM VIRTUALMACHINE
	NONE NULL NIL NOT NO ERROR OEM ODM EVAL TBD TBA EMPTY BLANK VOID ASSET SPEC FILL`)

// fillWords are the words that stand around those of templates.
var fillWords = strings.Fields(`
	TO BE BY OF OUT ON IN IS OR AND THE FOR THIS MORE ANY TAG ID SN INFO NAME TYPE BOARD BASE BIOS CPU UUID SET FOUND HERE
	PLEASE ENTER INSERT YOUR VALUE DATA TEXT UNIT FIELD MACHINE COMPUTER DEVICE PC NOTEBOOK LAPTOP DESKTOP TABLET
	MODEL VENDOR MAKER CODE KEY ACCESS READ CONFIG CUSTOM CUSTOMER VIRTUAL PLATFORM VERSION SAMPLE DUMMY EXAMPLE TEST`)

// wholeTexts name no machine when there is nothing else.
var wholeTexts = set(
	"TEST", "SAMPLE", "DUMMY", "EXAMPLE", "ASDF", "ASDFGH", "ASDFGHJKL", "QWERTY", "QWERTZ", "QWERTYUIOP", "DEADBEEF", "SQUARE",
	"COMPUTER", "NOTEBOOK", "LAPTOP", "DESKTOP", "TABLET", "TABLETPC",
	// UUIDs that a maker of firmware left in all of its boards.
	"03000200040005000006000700080009", "00020003000400050006000700080009", "123456781234567890ABCDDEEFAABBCC",
)

// hypervisors begin the serial numbers that hypervisors make up at random.
var hypervisors = []string{"VMWARE", "PARALLELS", "VIRTUALBOX", "QEMU", "GOOGLECLOUD", "NUTANIX", "XEN", "EC2"}

// hyperV is how Hyper-V and Azure write theirs, as normalized text.
var hyperV = regexp.MustCompile(`^\d{4}(-\d{4}){4,5}-\d{2}$`)

// lookalikes are the Cyrillic and Greek capitals that look like Latin ones.
var lookalikes = strings.NewReplacer(
	"А", "A", "В", "B", "Е", "E", "К", "K", "М", "M", "Н", "H", "О", "O", "Р", "P", "С", "C", "Т", "T", "Х", "X", "У", "Y", "І", "I", "Ѕ", "S", "Ј", "J",
	"Α", "A", "Β", "B", "Ε", "E", "Ζ", "Z", "Η", "H", "Ι", "I", "Κ", "K", "Μ", "M", "Ν", "N", "Ο", "O", "Ρ", "P", "Τ", "T", "Υ", "Y", "Χ", "X",
)

// placeholder reports whether a normalized serial number, and the letters and
// digits of it, name no machine.
func placeholder(serial, core string) bool {
	core = lookalikes.Replace(core)
	if wholeTexts[core] || wordy(core) || prose(core) {
		return true
	}
	for _, h := range hypervisors {
		if rest, ok := strings.CutPrefix(core, h); ok {
			r := []rune(rest)
			return len(r) < minSerial || periodic(r) == 1 || wordy(rest)
		}
	}
	r := []rune(core)
	if sequence(r) || repeating(r) {
		return true
	}
	return !hyperV.MatchString(serial) && (sequences(r) || padded(r))
}

// step says how a character follows another: 0 the same, 1 the next, -1 the one before.
// After 9 come 0 and A. Anything else is noStep.
type step int8

const noStep step = 2

func stepOf(a, b rune) step {
	switch {
	case a == b:
		return 0
	case b == a+1, a == '9' && (b == '0' || b == 'A'):
		return 1
	case b == a-1, b == '9' && (a == '0' || a == 'A'):
		return -1
	}
	return noStep
}

// run is a part of a text in which each character follows the one before in the
// same way. Two runs may share the character between them.
type run struct {
	step       step
	start, end int // from and to, the last one not included
}

func (r run) length() int { return r.end - r.start }

// runsOf returns the longest runs of a text, of three characters and more.
func runsOf(s []rune) []run {
	var all []run
	now := run{step: noStep}
	for i := 1; i <= len(s); i++ {
		if i < len(s) && stepOf(s[i-1], s[i]) == now.step {
			continue
		}
		if now.end = i; now.step != noStep && now.length() >= 3 {
			all = append(all, now)
		}
		if i < len(s) {
			now = run{step: stepOf(s[i-1], s[i]), start: i - 1}
		}
	}
	return all
}

// sequence reports whether a text is one sequence. A short one counts only up from 0, 1
// or A, or of one character.
func sequence(s []rune) bool {
	all := runsOf(s)
	if len(all) != 1 || all[0].length() != len(s) {
		return false
	}
	return len(s) >= 6 || all[0].step == 0 || all[0].step == 1 && strings.ContainsRune("01A", s[0])
}

// sequences reports whether a text is only sequences and repeated characters, three or
// more at a time: 123456789000, 11112222, ABC123.
func sequences(s []rune) bool {
	if len(s) < 6 {
		return false
	}
	all := runsOf(s)
	covered, shortest, longest := 0, len(s), 0
	for _, r := range all {
		if r.start > covered {
			return false
		}
		covered = r.end
		shortest, longest = min(shortest, r.length()), max(longest, r.length())
	}
	mixed := slices.ContainsFunc(s, unicode.IsLetter) && slices.ContainsFunc(s, unicode.IsDigit)
	switch {
	case covered == len(s) && len(all) == 2 && mixed:
		return true
	case len(s) < 8:
		return false
	}
	return covered == len(s) && (shortest >= 4 || longest >= 5) || interleaved(s)
}

// interleaved reports whether every other character makes a sequence, and so do those
// between them: 1122334455, 1A2B3C4D5E, 1020304050.
func interleaved(s []rune) bool {
	for first := range 2 {
		var half []rune
		for i := first; i < len(s); i += 2 {
			half = append(half, s[i])
		}
		if all := runsOf(half); len(all) != 1 || all[0].length() != len(half) {
			return false
		}
	}
	return true
}

// padded reports whether a long sequence, or one character repeated for long, has but a
// little around it. That is letters and zeros, as in MB-1234567890, or letters and digits
// where the sequence has every digit.
func padded(s []rune) bool {
	for _, r := range runsOf(s) {
		rest := slices.Concat(s[:r.start], s[r.end:])
		lettered := slices.ContainsFunc(rest, unicode.IsLetter)
		counted := lettered && r.length() >= countedRun && s[r.start] != '0'
		if n := r.length(); n < longFill || r.step != 0 && n < longRun && !counted {
			continue
		}
		whole := r.step != 0 && r.length() >= wholeRun && lettered
		plain := !slices.ContainsFunc(rest, func(c rune) bool { return !unicode.IsLetter(c) && c != '0' })
		if len(rest) <= maxPadding && (whole || plain) {
			return true
		}
	}
	return false
}

// periodic returns the length of the shortest pattern that a text repeats at least twice;
// 0 without one.
func periodic(s []rune) int {
	for p := 1; p <= len(s)/2; p++ {
		if slices.Equal(s[p:], s[:len(s)-p]) {
			return p
		}
	}
	return 0
}

// repeating reports whether a text repeats a pattern too often for an accident.
func repeating(s []rune) bool {
	switch p := periodic(s); {
	case p == 0:
		return false
	case p == 1:
		return true
	default:
		return len(s)-p >= accident || len(s) >= 6 && sequence(s[:p])
	}
}

// wordy reports whether a text is words of a template and trivial numbers only.
func wordy(core string) bool {
	template := false
	for rest := core; rest != ""; {
		if digits := span(rest, unicode.IsDigit); digits > 0 {
			if !trivial(rest[:digits]) {
				return false
			}
			rest = rest[digits:]
			continue
		}
		letters := span(rest, func(r rune) bool { return !unicode.IsDigit(r) })
		known, proof := words(rest[:letters])
		if !known {
			return false
		}
		template = template || proof
		rest = rest[letters:]
	}
	return template
}

// prose reports whether a text is letters alone, and those of words.
func prose(core string) bool {
	vowels := 0
	for _, r := range core {
		if !unicode.IsLetter(r) {
			return false
		}
		if strings.ContainsRune("AEIOU", r) {
			vowels++
		}
	}
	return vowels >= wordVowels
}

// span returns how many bytes at the beginning of a text satisfy f.
func span(s string, f func(rune) bool) int {
	if i := strings.IndexFunc(s, func(r rune) bool { return !f(r) }); i >= 0 {
		return i
	}
	return len(s)
}

// trivial reports whether a number is one that a template may have.
func trivial(digits string) bool {
	r := []rune(digits)
	return len([]rune(strings.TrimLeft(digits, "0"))) <= trivialNumber || sequence(r) || repeating(r) || sequences(r)
}

// words reports whether letters are words of templates, the last one perhaps cut short.
// The result template says whether one of them proves it.
func words(letters string) (known, template bool) {
	if len(letters) < 2 {
		return false, false
	}
	for _, w := range templateWords {
		if len(w) >= 6 && len(letters) >= len(w) && strings.Contains(letters, w) {
			return true, true
		}
	}
	// reached[i] tells how the first i letters are words: not, known, proved.
	const no, yes, proved = 0, 1, 2
	reached := make([]int, len(letters)+1)
	reached[0] = yes
	for i := range letters {
		if reached[i] == no {
			continue
		}
		for k, list := range [][]string{fillWords, templateWords} {
			for _, w := range list {
				if strings.HasPrefix(letters[i:], w) {
					reached[i+len(w)] = max(reached[i+len(w)], reached[i], k*proved)
				} else if rest := letters[i:]; len(rest) >= 3 && reached[i] == proved && strings.HasPrefix(w, rest) {
					return true, true
				}
			}
		}
	}
	end := reached[len(letters)]
	return end != no, end == proved
}
