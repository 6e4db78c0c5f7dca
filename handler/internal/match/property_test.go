package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// estate makes up devices with so few different serials, names and times that
// nearly every rule applies somewhere.
func estate(r *rand.Rand) (records, nodes) {
	serials := []string{"", "0", "Default string", "PF2XYZ01", "pf2xyz01 ", "PF2XYZ02", "PF2XYZ03", "PF2XYZ04", "PF2XYZ05"}
	names := []string{"", "localhost", "PC-A", "pc-a", "PC-B", "PC-C", "PC-D", "PC-E", "PC-F", "PC-G"}
	systems := []string{"", "Windows", "iOS", "macOS"}
	states := []string{"", tenant.StateCompliant, tenant.StateNoncompliant, tenant.StateInGracePeriod, tenant.StateUnknown}
	entra := []string{"", "", "e1", "e2", "e3", "e4"}
	classes := []string{"", "WINDOWS_WORKSTATION", "MAC", "APPLE_IOS", "NMS_SWITCH"}
	pick := func(s []string) string { return s[r.IntN(len(s))] }

	var intune records
	for i := range r.IntN(12) {
		intune = append(intune, record(fmt.Sprintf("i%02d", i), pick(names), pick(serials),
			runs(pick(systems)), synced(1+r.IntN(4)), enrolled(1+r.IntN(3)), in(pick(entra)), is(pick(states))))
	}
	var ninja nodes
	for i := range r.IntN(12) {
		n := node(i+1, pick(names), pick(serials), bios(pick(serials)), netbios(pick(names)), class(pick(classes)))
		if name := pick(names); name != "" {
			n.DNSName = name + ".fabrikam.example"
		}
		ninja = append(ninja, n)
	}
	return intune, ninja
}

func TestDevicesProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	for range 3000 {
		intune, ninja := estate(r)
		want := Devices(intune, ninja)
		checkResult(t, intune, ninja, want)

		shuffledIntune, shuffledNinja := slices.Clone(intune), slices.Clone(ninja)
		r.Shuffle(len(intune), func(i, j int) {
			shuffledIntune[i], shuffledIntune[j] = shuffledIntune[j], shuffledIntune[i]
		})
		r.Shuffle(len(ninja), func(i, j int) {
			shuffledNinja[i], shuffledNinja[j] = shuffledNinja[j], shuffledNinja[i]
		})
		if diff := cmp.Diff(want, Devices(shuffledIntune, shuffledNinja)); diff != "" {
			t.Errorf("the order of the input changes the result:\n%s", diff)
		}
		if t.Failed() {
			t.Fatalf("Intune: %+v\nNinjaOne: %+v", intune, ninja)
		}
	}
}

// checkResult holds a result to what is true of every result.
func checkResult(t *testing.T, intune records, ninja nodes, r Result) {
	t.Helper()
	var intuneIDs []string
	var ninjaIDs []int
	for _, p := range r.Pairs {
		intuneIDs = append(intuneIDs, p.Intune.ID)
		ninjaIDs = append(ninjaIDs, p.Ninja.ID)
		newest := p.Intune.LastSync
		for i, c := range p.Contesting {
			intuneIDs = append(intuneIDs, c.ID)
			if c.LastSync.After(newest) {
				newest = c.LastSync
			}
			if tenant.Judge(c.ComplianceState) > tenant.Judge(p.Intune.ComplianceState) {
				t.Errorf("%s contests %s and complies worse", c.ID, p.Intune.ID)
			}
			for _, other := range append(p.Contesting[:i:i], p.Intune) {
				if !apart(c, other) {
					t.Errorf("%s contests %s, the same device", c.ID, other.ID)
				}
			}
		}
		for _, c := range append(p.Contesting[:len(p.Contesting):len(p.Contesting)], p.Intune) {
			if len(p.Contesting) > 0 && newest.Sub(c.LastSync) > liveWithin {
				t.Errorf("%s contests although it is silent", c.ID)
			}
		}
		for _, s := range p.Superseded {
			intuneIDs = append(intuneIDs, s.ID)
			if s.LastSync.After(newest) {
				t.Errorf("%s is superseded by %s, which checked in earlier", s.ID, p.Intune.ID)
			}
		}
		if !slices.IsSortedFunc(p.Superseded, NewestFirst) {
			t.Errorf("the records superseded by %s are not in order", p.Intune.ID)
		}
		serial, usable := NormalizeSerial(p.Intune.SerialNumber)
		var ninjaSerials []string
		for _, raw := range []string{p.Ninja.SerialNumber, p.Ninja.BIOSSerialNumber} {
			if s, ok := NormalizeSerial(raw); ok {
				ninjaSerials = append(ninjaSerials, s)
			}
		}
		times := 0 // a number that several have may name none of them
		for i := range intune {
			if s, _ := NormalizeSerial(intune[i].SerialNumber); s == serial {
				times++
			}
		}
		for i := range ninja {
			for _, raw := range []string{ninja[i].SerialNumber, ninja[i].BIOSSerialNumber} {
				if s, ok := NormalizeSerial(raw); ok && (s == serial || slices.Contains(ninjaSerials, s)) && ninja[i].ID != p.Ninja.ID {
					times++
				}
			}
		}
		if usable && times == 1 && len(ninjaSerials) > 0 && !slices.Contains(ninjaSerials, serial) {
			t.Errorf("%s and %d are a pair although their serials differ", p.Intune.ID, p.Ninja.ID)
		}
		switch p.Evidence.Kind {
		case KindSerial:
			if !usable && p.Intune.AzureADDeviceID == "" {
				t.Errorf("%s was matched by a serial that is not usable", p.Intune.ID)
			}
		case KindName:
			if !slices.Contains(names(p.Ninja), normalizeName(p.Intune.DeviceName)) && len(p.Contesting) == 0 {
				t.Errorf("%s and %d were matched by name but have none in common", p.Intune.ID, p.Ninja.ID)
			}
		default:
			t.Errorf("evidence %q", p.Evidence.Kind)
		}
		if p.Evidence.Value == "" {
			t.Errorf("the evidence of %s has no value", p.Intune.ID)
		}
	}
	for _, l := range r.IntuneOnly {
		intuneIDs = append(intuneIDs, l.Device.ID)
		checkReason(t, l.Reason)
	}
	for _, l := range r.NinjaOnly {
		ninjaIDs = append(ninjaIDs, l.Device.ID)
		checkReason(t, l.Reason)
	}
	checkOnce(t, "Intune", intuneIDs, len(intune))
	checkOnce(t, "NinjaOne", ninjaIDs, len(ninja))
}

func checkReason(t *testing.T, reason string) {
	t.Helper()
	if reason == "" || strings.HasSuffix(reason, "; ") || strings.HasPrefix(reason, "0 ") || strings.HasPrefix(reason, "1 ") {
		t.Errorf("reason %q", reason)
	}
}

func checkOnce[T int | string](t *testing.T, side string, ids []T, want int) {
	t.Helper()
	slices.Sort(ids)
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) || n != want {
		t.Errorf("%s: %d devices, %d places in the result, %d different", side, want, len(ids), n)
	}
}

func FuzzNormalizeSerial(f *testing.F) {
	for _, s := range []string{
		"", " ", "0", "PF2XYZ01", "pf2 xyz\u200b01", "To be filled by O.E.M.", "123456789",
		"VMware-56 4d 11", "\u00a8\u00a8\u00a8\u00a8", "\u212b\u0301abc", "\u00df\u00df\u00df\u1e9e", "\xff\xfeabcd", "\u0149\u0149\u0149a",
		"A\u200dB\u0301CD", "\u03b1\u0345bcd",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		serial, usable := NormalizeSerial(s)
		if !usable {
			if serial != "" {
				t.Errorf("an unusable serial has the value %q", serial)
			}
			return
		}
		if again, ok := NormalizeSerial(serial); !ok || again != serial {
			t.Errorf("%q normalizes to %q, and that to %q, %v", s, serial, again, ok)
		}
		if strings.ContainsFunc(serial, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			t.Errorf("%q has white space or control characters", serial)
		}
		if spaced, ok := NormalizeSerial(" " + serial + "\u200b\n"); !ok || spaced != serial {
			t.Errorf("with white space around, %q normalizes to %q, %v", serial, spaced, ok)
		}
	})
}

func TestNormalizeSerial(t *testing.T) {
	usable := map[string]string{
		"5CG1234AAA":                  "5CG1234AAA",
		" 5cg1234aaa ":                "5CG1234AAA",
		"PF-2X 01":                    "PF-2X01",
		"1234":                        "", // counted
		"4321":                        "4321",
		"A12B":                        "A12B",
		"Parallels-9D 5E 01":          "PARALLELS-9D5E01",
		"0000-0012-3456-7890-1234-56": "0000-0012-3456-7890-1234-56",
		"５ＣＧ９":                        "5CG9",
		"\ufeffR90XYZ12":              "R90XYZ12",
		"123456780":                   "123456780",
	}
	for in, want := range usable {
		t.Run("value "+in, func(t *testing.T) {
			if got, ok := NormalizeSerial(in); got != want || ok != (want != "") {
				t.Errorf("%q, %v; want %q", got, ok, want)
			}
		})
	}
}

func BenchmarkDevices(b *testing.B) {
	const n = 100_000
	intune := make([]tenant.ManagedDevice, n)
	ninja := make([]ninjaone.Device, n)
	for i := range n {
		intune[i] = record(fmt.Sprintf("%08x", i*7919%n), fmt.Sprintf("PC-%06d", i), fmt.Sprintf("SN%06X", i), synced(1+i%28))
		ninja[n-1-i] = node(i+1, fmt.Sprintf("PC-%06d", i), fmt.Sprintf("SN%06X", i), dns(fmt.Sprintf("pc-%06d.fabrikam.example", i)))
		switch i % 10 {
		case 0: // matched by name
			intune[i].SerialNumber = "Default string"
		case 1: // an older record of the machine before
			intune[i].SerialNumber = intune[i-1].SerialNumber
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := Devices(intune, ninja); len(r.Pairs) == 0 {
			b.Fatal("no pairs")
		}
	}
}
