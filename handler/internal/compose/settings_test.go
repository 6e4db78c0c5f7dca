package compose

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf16"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

func TestNonCompliantSettings(t *testing.T) {
	failing := func(names ...string) []tenant.SettingState {
		var all []tenant.SettingState
		for _, n := range names {
			name, state, _ := strings.Cut(n, "|")
			if state == "" {
				state = tenant.StateNoncompliant
			}
			all = append(all, tenant.SettingState{Setting: name, State: state})
		}
		return all
	}
	policy := func(name, state string, settings ...string) tenant.PolicyState {
		return tenant.PolicyState{Policy: name, State: state, Settings: failing(settings...)}
	}
	for name, tt := range map[string]struct {
		state    string
		policies []tenant.PolicyState
		unread   bool
		want     string
		unknown  bool
	}{
		"lines":              {state: "noncompliant", policies: []tenant.PolicyState{policy("Zulu", "noncompliant", "b", "a"), policy("Broken Policy", "error", "Windows10CompliancePolicy.PasswordRequired|error")}, want: "Broken Policy: Windows10CompliancePolicy.PasswordRequired (error)\nZulu: a\nZulu: b"},
		"bytes decide":       {state: "noncompliant", policies: []tenant.PolicyState{policy("é", "noncompliant", "x"), policy("b", "noncompliant", "x"), policy("Z", "noncompliant", "x")}, want: "Z: x\nb: x\né: x"},
		"each once":          {state: "conflict", policies: []tenant.PolicyState{policy("P", "conflict", "a|conflict", "a|conflict", "A|conflict"), policy("P", "conflict", "a|conflict")}, want: "P: A (conflict)\nP: a (conflict)"},
		"no name":            {state: "error", policies: []tenant.PolicyState{policy("P", "error", "")}, want: "P: Unknown setting"},
		"policy that passes": {state: "noncompliant", policies: []tenant.PolicyState{policy("P", "compliant", "a"), policy("Q", "inGracePeriod", "b"), policy("R", "unknown", "c")}, want: ""},
		"nothing fails":      {state: "noncompliant", policies: []tenant.PolicyState{}, want: ""},
		"one line each":      {state: "noncompliant", policies: []tenant.PolicyState{policy("P\r\nQ", "noncompliant", "a\u2028b\u202e\x00")}, want: "P  Q: a b"},
		"in grace":           {state: "inGracePeriod", policies: []tenant.PolicyState{policy("P", "noncompliant", "a")}, want: "P: a"},
		"complies":           {state: "compliant", policies: []tenant.PolicyState{policy("P", "noncompliant", "a")}, want: ""},
		"not judged":         {state: "unknown", want: ""},
		"left to others":     {state: "configManager", want: ""},
		"state unread":       {state: "", policies: []tenant.PolicyState{policy("P", "noncompliant", "a")}, unknown: true},
		"policies unread":    {state: "noncompliant", unread: true, unknown: true},
		"settings unread":    {state: "noncompliant", policies: []tenant.PolicyState{policy("P", "noncompliant", "a"), {Policy: "Q", State: "noncompliant", Unread: true}}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, known := NonCompliantSettings(tt.state, tt.policies, !tt.unread, ninjaone.MaxLines)
			if got != tt.want || known == tt.unknown {
				t.Errorf("%q, known %v; want %q", got, known, tt.want)
			}
		})
	}
}

func TestCutLines(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, tt := range map[string]struct {
		lines []string
		want  string
	}{
		"fits exactly":     {[]string{long[:200]}, long[:200]},
		"one unit more":    {[]string{long[:201]}, long[:199] + "…"},
		"whole lines":      {[]string{long[:99], long[:100]}, long[:99] + "\n" + long[:100]},
		"last is left out": {[]string{long[:99], long[:101]}, long[:99] + "\n… and 1 more"},
		"first is cut":     {[]string{long[:198], "b", "c"}, long[:186] + "…\n… and 2 more"},
		"by units":         {[]string{strings.Repeat("😀", 101)}, strings.Repeat("😀", 99) + "…"},
		"ten are left out": {append([]string{long[:180]}, strings.Fields("a b c d e f g h i j k l m n")...), long[:180] + "\na\nb\nc\n… and 11 more"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cutLines(tt.lines, ninjaone.MaxText); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestCutLinesHolds tries the cut on whatever lines: never over the limit, valid
// text, first lines first, and the number of those left out.
func TestCutLinesHolds(t *testing.T) {
	holds := func(texts []string, repeat uint8, room uint16) bool {
		var all []string
		for _, s := range texts {
			for i := range int(repeat)%5 + 1 {
				if s := oneLine(s + fmt.Sprint(i)); s != "" {
					all = append(all, s)
				}
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
		limit := 40 + int(room)%400
		got := cutLines(all, limit)
		if !utf8.ValidString(got) || len(utf16.Encode([]rune(got))) > limit {
			return false
		}
		lines := strings.Split(got, "\n")
		if got == strings.Join(all, "\n") {
			return true
		}
		left := 0
		if _, err := fmt.Sscanf(lines[len(lines)-1], "… and %d more", &left); err == nil {
			lines = lines[:len(lines)-1]
		}
		if len(lines)+left != len(all) {
			return false
		}
		if first, cut := strings.CutSuffix(lines[0], "…"); len(lines) == 1 && cut {
			return strings.HasPrefix(all[0], first) && first != all[0]
		}
		// One more line would not have had room.
		next := strings.Join(all[:len(lines)+1], "\n")
		if left > 1 {
			next += fmt.Sprintf("\n… and %d more", left-1)
		}
		return slices.Equal(lines, all[:len(lines)]) && len(utf16.Encode([]rune(next))) > limit
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 3000}); err != nil {
		t.Error(err)
	}
}

// FuzzNonCompliantSettings: whatever names a tenant gives, the value has a line for
// each failing setting, is valid text, and fits either type of field.
func FuzzNonCompliantSettings(f *testing.F) {
	f.Add("Baseline", "Windows10CompliancePolicy.PasswordRequired", "error", uint16(3))
	f.Add("a\nb", "\u2028\u202e", "nonCompliant", uint16(2000))
	f.Add("\xff😀", "", "", uint16(1))
	f.Fuzz(func(t *testing.T, policy, setting, state string, n uint16) {
		p := tenant.PolicyState{Policy: policy, State: tenant.StateNoncompliant}
		for i := range int(n) % 3000 {
			p.Settings = append(p.Settings, tenant.SettingState{Setting: fmt.Sprint(setting, i%700), State: state})
		}
		for _, kind := range []string{ninjaone.TypeText, ninjaone.TypeLines} {
			limit := SettingsLimit(kind)
			text, known := NonCompliantSettings(tenant.StateNoncompliant, []tenant.PolicyState{p}, true, limit)
			if !known || !utf8.ValidString(text) || len(utf16.Encode([]rune(text))) > limit || (text == "") != (len(p.Settings) == 0) {
				t.Errorf("known %v, %d units: %q", known, len(utf16.Encode([]rune(text))), text)
			}
			if strings.Count(text, "\n") >= max(1, min(len(p.Settings), 700)) {
				t.Errorf("%d lines of %d settings", strings.Count(text, "\n")+1, len(p.Settings))
			}
		}
	})
}
