package match

import (
	"net/netip"
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

// placeholders are the texts that firmware, hypervisors and management
// agents give in place of a serial number, as letters and digits in upper
// case.
var placeholders = set(
	// Left by the maker of the board for the maker of the computer.
	"TOBEFILLEDBYOEM", "TOBEFILLEDBYO", "FILLBYOEM", "OEM", "OEMSERIAL", "OEMDEFINED",
	"DEFAULT", "DEFAULTSTRING", "DEFAULTSERIAL", "STANDARD",
	"SERIAL", "SERIALNUMBER", "SYSTEMSERIAL", "SYSTEMSERIALNUMBER", "SYSTEMSERIALNUMB",
	"CHASSISSERIALNUMBER", "BASEBOARDSERIALNUMBER", "BOARDSERIALNUMBER",
	"SYSTEMPRODUCTNAME", "SYSTEMMANUFACTURER", "TYPE1PRODUCTCONFIGID",
	"NOASSETTAG", "NOASSETINFORMATION", "ASSETTAG",
	// Said when there is none.
	"NONE", "NOTAPPLICABLE", "NOTAVAILABLE", "NOTSPECIFIED", "NOTDEFINED", "NOTSET",
	"NOTSETTABLE", "NOTFOUND", "NOTPRESENT", "NOTPROVIDED", "NOTSUPPORTED",
	"UNKNOWN", "UNKNOWNSERIAL", "UNSPECIFIED", "UNDEFINED", "UNAVAILABLE", "UNASSIGNED",
	"EMPTY", "BLANK", "NULL", "INVALID", "INVALIDSERIAL", "INVALIDSERIALNUMBER",
	"NOSERIAL", "NOSERIALNUMBER", "SERIALNOTAVAILABLE", "PERMISSIONDENIED",
	// Typed by somebody.
	"TEST", "SAMPLE", "DUMMY", "EXAMPLE", "ABCDEFG", "ABCDEFGH", "ASDF",
)

// NormalizeSerial returns a serial number in the form in which two spellings
// of it are equal, and whether it can identify a device. The form has no white
// space, control or zero-width characters, compatibility forms such as
// full-width digits are replaced (Unicode NFKC), and letters are upper case.
// Punctuation stays.
//
// Not usable are: texts with fewer than four letters and digits, the known
// placeholders (such as "To be filled by O.E.M.", "Default string", "System
// Serial Number", "Not Specified", "INVALID", whatever their spacing and
// punctuation), one character repeated, and the digits counted up from 0 or 1
// ("123456789"). The serial numbers of hypervisors ("VMware-…",
// "Parallels-…") are usable: they tell virtual machines apart.
func NormalizeSerial(s string) (serial string, usable bool) {
	s = fold(strings.ToUpper(fold(s, true)), true)
	core := s
	if strings.IndexFunc(s, notAlphanumeric) >= 0 {
		core = strings.Map(func(r rune) rune {
			if notAlphanumeric(r) {
				return -1
			}
			return r
		}, s)
	}
	if utf8.RuneCountInString(core) < minSerial || placeholders[core] || repeated(core) || counted(core) {
		return "", false
	}
	return s, true
}

// normalizeName returns a device name in the form in which two spellings of
// it are equal, or "" for a name that identifies nothing.
func normalizeName(s string) string {
	s = strings.ToLower(fold(s, false))
	switch s {
	case "localhost", "localhost.localdomain", "unknown", "null", "none":
		return ""
	}
	return s
}

// names returns the names that NinjaOne knows a device by: system name, DNS
// name in full and its host label, and NetBIOS name. The display name is left
// out, since technicians type it.
func names(d *ninjaone.Device) []string {
	list := make([]string, 0, 4)
	add := func(name string) {
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	add(normalizeName(d.SystemName))
	dns := strings.TrimSuffix(normalizeName(d.DNSName), ".")
	if _, err := netip.ParseAddr(dns); err != nil {
		add(dns)
		label, _, _ := strings.Cut(dns, ".")
		add(normalizeName(label))
	}
	add(normalizeName(d.NetBIOSName))
	return list
}

// fold applies NFKC and removes control and zero-width characters. White
// space is removed too when tight, else trimmed and single.
func fold(s string, tight bool) string {
	if plain(s) {
		return s
	}
	// Removing a character can bring two others together that then compose,
	// and composing can yield a space, so one round is not always enough.
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

func repeated(s string) bool {
	first, size := utf8.DecodeRuneInString(s)
	for _, r := range s[size:] {
		if r != first {
			return false
		}
	}
	return true
}

// counted reports whether s is the digits in order, from 0 or 1, around once
// or more.
func counted(s string) bool {
	if s[0] != '0' && s[0] != '1' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || s[i] != '0'+(s[i-1]-'0'+1)%10 {
			return false
		}
	}
	return true
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
