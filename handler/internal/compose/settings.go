package compose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// SettingsLimit is how many UTF-16 units a NinjaOne custom field takes of
// DeviceNonCompliantSettings, by the type of its definition.
func SettingsLimit(fieldType string) int {
	if fieldType == ninjaone.TypeText {
		return ninjaone.MaxText
	}
	return ninjaone.MaxLines
}

// NonCompliantSettings returns a device's value of DeviceNonCompliantSettings, in a state
// of Intune's. It has a line for each setting that fails, or is "" where none does. The
// policies are the device's, if they were read. Where nobody knows which settings fail,
// known is false and the field stays.
func NonCompliantSettings(state string, policies []tenant.PolicyState, read bool, limit int) (text string, known bool) {
	if state == "" {
		return "", false
	}
	if tenant.Judge(state) != tenant.Violates {
		return "", true
	}
	if !read {
		return "", false
	}
	var all []string
	for _, p := range policies {
		if p.Unread {
			return "", false
		}
		if !tenant.Fails(p.State) {
			continue
		}
		for _, s := range p.Settings {
			line := p.Policy + ": " + cmp.Or(s.Setting, "Unknown setting")
			if s.State != tenant.StateNoncompliant {
				line += " (" + s.State + ")"
			}
			all = append(all, oneLine(line))
		}
	}
	slices.Sort(all)
	return cutLines(slices.Compact(all), limit), true
}

// IsSettings reports whether a text has the form of DeviceNonCompliantSettings, as CIPP
// writes it too. Each line names a policy and a setting.
func IsSettings(text string) bool {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		policy, setting, ok := strings.Cut(strings.TrimSpace(line), ": ")
		rest := i > 0 && i == len(lines)-1 && strings.HasPrefix(line, "… and ")
		if !rest && (!ok || policy == "" || setting == "") {
			return false
		}
	}
	return true
}

// oneLine makes one line of a text from a tenant. It replaces line ends, and drops
// characters that turn the direction of what follows.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t', r == '\v', r == '\f', r == '\u0085', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// cutLines joins lines. Of too many it leaves out the last ones, and says how many in a
// line of its own. Where not even the first fits, it cuts that.
func cutLines(all []string, limit int) string {
	whole := strings.Join(all, "\n")
	length := ninjaone.UTF16Length(whole) // of the lines that are shown
	if length <= limit {
		return whole
	}
	const ellipsis = "…"
	rest := ""
	for shown := len(all) - 1; shown > 0; shown-- {
		rest = fmt.Sprintf("\n… and %d more", len(all)-shown)
		length -= ninjaone.UTF16Length("\n" + all[shown])
		if length+ninjaone.UTF16Length(rest) <= limit {
			return strings.Join(all[:shown], "\n") + rest
		}
	}
	room, first := limit-ninjaone.UTF16Length(ellipsis+rest), all[0]
	for i, r := range first {
		if room -= utf16.RuneLen(r); room < 0 {
			first = first[:i]
			break
		}
	}
	return first + ellipsis + rest
}
