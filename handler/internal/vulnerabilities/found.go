package vulnerabilities

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/reply"
)

// found is what Microsoft reports of a tenant: which device has which finding. A million
// pairs take about 8 MB and their texts, which it keeps once.
type found struct {
	ctx     context.Context
	texts   []string
	textOf  map[string]uint32
	devices []uint32          // the name of each, a text
	device  map[uint32]uint32 // by the text of its id and short name, or of its name where it has no id
	finding map[finding]uint32
	all     []finding

	pairs  []uint64 // device in the upper half, finding in the lower; sorted and distinct but for the last loose
	sorted int

	Nameless int // records of devices without a name
	Odd      int // records whose CVE cannot be one
}

// finding is a CVE of a version of a software. Its members are texts.
type finding struct {
	cve, software, version, fixed, url uint32
	severity                           uint8 // exposure.Severity.Rank
}

func newFound(ctx context.Context) *found {
	return &found{ctx: ctx, textOf: map[string]uint32{}, device: map[uint32]uint32{}, finding: map[finding]uint32{}}
}

// anyCVE are the ids that Defender gives, of CVEs and of its own. Nothing else goes
// into a file: what begins with = would be a formula to whoever opens it.
var anyCVE = regexp.MustCompile(`^[A-Z]{2,12}-[A-Z0-9][A-Z0-9._-]{0,60}$`)

const (
	loose    = 1 << 16 // pairs that are not sorted yet
	longText = 512     // bytes that are kept of a text for people
)

// add takes one record. What has no CVE is software without a known one.
func (f *found) add(v *wire.Vulnerability) error {
	cve := strings.ToUpper(strings.TrimSpace(v.CVE))
	name := strings.TrimSpace(v.DeviceName)
	switch {
	case cve == "":
		return nil
	case !anyCVE.MatchString(cve):
		f.Odd++
		return nil
	case name == "":
		f.Nameless++
		return nil
	}
	software := strings.TrimSpace(v.SoftwareVendor + " " + v.SoftwareName)
	var at [7]uint32
	for i, text := range []string{cve, clip(software), clip(v.SoftwareVersion), clip(v.Update), clip(v.UpdateURL), clip(name), identity(v)} {
		var err error
		if at[i], err = f.text(text); err != nil {
			return err
		}
	}
	d, ok := f.device[at[6]]
	if !ok {
		d = uint32(len(f.devices))
		f.device[at[6]], f.devices = d, append(f.devices, at[5])
	} else if had, name := f.texts[f.devices[d]], f.texts[at[5]]; len(name) > len(had) || len(name) == len(had) && name < had {
		f.devices[d] = at[5] // the longest tells most, and the order of records nothing
	}
	key := finding{at[0], at[1], at[2], at[3], at[4], uint8(exposure.SeverityOf(v.Severity).Rank())}
	n, ok := f.finding[key]
	if !ok {
		if err := reply.Keep(f.ctx, 100); err != nil {
			return err
		}
		n = uint32(len(f.all))
		f.finding[key], f.all = n, append(f.all, key)
	}
	f.pairs = append(f.pairs, uint64(d)<<32|uint64(n))
	if len(f.pairs)-f.sorted >= max(loose, f.sorted/2) {
		return f.compact()
	}
	return nil
}

// identity tells devices apart. One that was renamed may have records of both names.
func identity(v *wire.Vulnerability) string {
	id, name := strings.ToLower(strings.TrimSpace(v.DeviceID)), strings.TrimSpace(v.DeviceName)
	if id == "" {
		return "\x00" + strings.ToLower(name)
	}
	return "\x00" + id + "\x00" + short(name)
}

// text returns the number of a text, which is kept once.
func (f *found) text(s string) (uint32, error) {
	n, ok := f.textOf[s]
	if !ok {
		if err := reply.Keep(f.ctx, int64(len(s))+60); err != nil {
			return 0, err
		}
		s = strings.Clone(s) // not with the record that it is part of
		n = uint32(len(f.texts))
		f.textOf[s], f.texts = n, append(f.texts, s)
	}
	return n, nil
}

// compact sorts the pairs and keeps each once.
func (f *found) compact() error {
	before := f.sorted
	slices.Sort(f.pairs)
	f.pairs = slices.Compact(f.pairs)
	f.sorted = len(f.pairs)
	return reply.Keep(f.ctx, int64(f.sorted-before)*16)
}

// kept is how many pairs there are.
func (f *found) kept() int {
	_ = f.compact() // that there is no room, the next pairs find out
	return len(f.pairs)
}

// clip bounds a text for people.
func clip(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > longText {
		s = strings.ToValidUTF8(s[:longText], "")
	}
	return s
}
