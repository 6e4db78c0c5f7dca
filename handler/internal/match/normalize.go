package match

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// minSerial is the least number of letters and digits of a usable serial
// number. Shorter ones are counters and placeholders; the shortest that large
// manufacturers give out have seven.
const minSerial = 4

// NormalizeSerial returns the form that all spellings of a serial number share, and
// whether it can identify a device. The form has no white space, control or zero-width
// characters, and letters are upper case. Plain characters replace compatibility forms
// such as full-width digits (Unicode NFKC). Punctuation stays.
//
// Not usable are texts with fewer than four letters and digits, sequences
// ("123456789000", "SYS-1234567890") and repeated patterns ("0101010101"). Nor are words
// of a template with a trivial number or none, whatever their spacing and punctuation.
// Examples are "To be filled by O.E.M.", "Not Specified" and "serialnumber0". Nor are
// other words without any digit ("American Megatrends"). The serial numbers of
// hypervisors ("VMware-…", "Parallels-…") are usable: they tell virtual machines apart.
func NormalizeSerial(s string) (serial string, usable bool) {
	s = fold(strings.ToUpper(fold(s, true)), true)
	core := alphanumerics(s)
	if utf8.RuneCountInString(core) < minSerial || placeholder(s, core) {
		return "", false
	}
	return s, true
}

// alphanumerics returns the letters and digits of a text.
func alphanumerics(s string) string {
	if strings.IndexFunc(s, notAlphanumeric) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if notAlphanumeric(r) {
			return -1
		}
		return r
	}, s)
}

// serialKey returns what the rules compare of a serial number: its letters and digits.
// Agents put white space and dashes where they like. The key is "" when the number is not
// usable.
func serialKey(raw string) string {
	s, usable := NormalizeSerial(raw)
	if !usable {
		return ""
	}
	return alphanumerics(s)
}

// normalizeName returns the form that all spellings of a device name share; "" for a name
// that identifies nothing.
func normalizeName(s string) string {
	s = strings.ToLower(fold(s, false))
	switch s {
	case "localhost", "localhost.localdomain", "localhost.local", "unknown", "undefined", "null", "(null)", "none", "(none)", "n/a":
		return ""
	}
	if alphanumerics(s) == "" {
		return ""
	}
	return s
}

// hostName is a name with a domain.
var hostName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[0-9_-]*[a-z][a-z0-9_-]*$`)

// hostLabel returns the host's part of a normalized name with a domain; "" for any other,
// such as an address.
func hostLabel(name string) string {
	name = strings.TrimSuffix(name, ".")
	if !hostName.MatchString(name) {
		return ""
	}
	label, _, _ := strings.Cut(name, ".")
	return normalizeName(label)
}

// names returns the names by which NinjaOne knows a device. They are system name and DNS
// name, with and without their domains, and NetBIOS name. It leaves out the display name,
// since technicians type it.
func names(d *ninjaone.Device) []string {
	list := make([]string, 0, 4)
	add := func(name string) {
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	system := normalizeName(d.SystemName)
	add(system)
	add(hostLabel(system))
	dns := strings.TrimSuffix(normalizeName(d.DNSName), ".")
	if _, err := netip.ParseAddr(dns); err != nil {
		add(dns)
		label, _, _ := strings.Cut(dns, ".")
		add(normalizeName(label))
	}
	add(normalizeName(d.NetBIOSName))
	return list
}

// fold applies NFKC and removes control and zero-width characters. When tight, it removes
// white space too; else it trims and joins it.
func fold(s string, tight bool) string {
	if plain(s) {
		return s
	}
	// Removing a character can bring two others together that then compose, and composing
	// can yield a space. So one round is not always enough.
	for range 4 {
		before := s
		s = norm.NFKC.String(strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				if tight {
					return -1
				}
				return ' '
			case unicode.In(r, unicode.Cc, unicode.Cf), r == utf8.RuneError:
				return -1
			}
			return r
		}, s))
		if !tight {
			s = strings.Join(strings.Fields(s), " ")
		}
		if s == before {
			break
		}
	}
	return s
}

// plain reports whether s is printable ASCII without spaces, which folding
// leaves as it is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// visible returns s as it is shown: without the characters that cannot be seen.
func visible(s string) string { return fold(s, false) }

func notAlphanumeric(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
