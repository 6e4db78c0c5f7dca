package vulnerabilities

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/words"
)

// The brake: a file waits that lacks more than half of the last one's rows, and more than
// brakeRows. A file without any row waits too.
const brakeRows = 50

// listed is how many devices that NinjaOne does not have are kept by name.
const listed = 50

// inputs are what a turn read.
type inputs struct {
	now        time.Time
	forced     bool
	last       Status // of the row
	group      ninjaone.ScanGroup
	source     string // SourceDefender or SourceCache
	sourceAt   time.Time
	found      *found
	exceptions cipp.CVEExceptions
	names      *names
}

// plan is what a turn does.
type plan struct {
	verdict  Verdict
	status   Status // as the turn leaves it; an upload goes on from there
	groupID  int64  // where the file goes
	held     int    // rows that the group holds at most
	file     *file
	exposure exposure.Tenant
	problems []problems.Problem
}

// GroupOf finds the scan group of a tenant by its name, which is compared without
// case, as CIPP does. The problem says why none can be used.
func GroupOf(groups []ninjaone.ScanGroup, name string) (ninjaone.ScanGroup, *problems.Problem) {
	var found []ninjaone.ScanGroup
	for _, g := range groups {
		if strings.EqualFold(g.Name, name) {
			found = append(found, g)
		}
	}
	const where = "in NinjaOne under Administration, Apps, Vulnerability Importer"
	bad := func(key, format string, args ...any) (ninjaone.ScanGroup, *problems.Problem) {
		return ninjaone.ScanGroup{}, &problems.Problem{Key: key, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(found) == 0:
		return bad("group:missing", "NinjaOne has no scan group with the name %q, so no vulnerabilities are uploaded. No app can make one: make it "+where+
			", with exactly this name. NinjaOne wants a CSV file of one column of host names and one of CVE ids.", name)
	case len(found) > 1:
		return bad("group:twice", "NinjaOne has %d scan groups with the name %q. Which one is meant is not known, so no vulnerabilities are uploaded. Delete or rename all but one "+where+".", len(found), name)
	}
	g := found[0]
	if strings.TrimSpace(g.DeviceHeader) == "" || strings.TrimSpace(g.CVEHeader) == "" || g.DeviceHeader == g.CVEHeader {
		return bad("group:headers", "NinjaOne's scan group %q does not name one column of devices and one of CVE ids. No vulnerabilities are uploaded. "+
			"Map both columns of the group "+where+".", name)
	}
	if _, ok := identifierOf(g.Mapping); !ok {
		return bad("group:mapping", "NinjaOne's scan group %q finds devices by %q, which this app does not know, so no vulnerabilities are uploaded. "+
			"Let it find them by host name, IP address or MAC address "+where+".", name, g.Mapping)
	}
	return g, nil
}

// foreign reports whether the group's file is somebody else's, though this app sent it
// one. It is neither the last one nor that before, in whose place the last did not come.
func foreign(last Status, g ninjaone.ScanGroup) bool {
	return last.Named && last.GroupID == g.ID && g.FileName != "" && g.FileName != fileName(last.Digest) && g.FileName != fileName(last.Shown)
}

// before returns how many rows the group holds at most, as far as is known.
func before(last Status, g ninjaone.ScanGroup) int {
	switch {
	case last.Digest == "" || last.GroupID != g.ID:
		return g.Processed.Value // of somebody else's file
	case foreign(last, g):
		return max(last.Rows, last.Held, g.Processed.Value)
	case last.Import == Complete:
		return last.Rows
	}
	return max(last.Rows, last.Held)
}

// decide is the whole of a turn's judgement. It is pure.
func decide(in inputs) (plan, error) {
	p := plan{status: in.last}
	s := &p.status
	s.Group, s.Turn, p.groupID = in.group.Name, in.now, in.group.ID
	s.Source, s.SourceAt, s.Failures, s.Reason = in.source, in.sourceAt, 0, ""
	if err := p.compile(in); err != nil {
		return plan{}, err
	}
	p.held = before(in.last, in.group)
	rows, base := len(p.file.rows), p.held
	mayBeEmpty := s.Reported > 0 && s.Excepted == s.Reported
	if in.last.confirmed() {
		base = in.last.WaitingRows
		mayBeEmpty = mayBeEmpty || base == 0
	}
	again := p.file.digest == in.last.Digest && in.last.GroupID == in.group.ID
	lost := in.last.Import == Failed || in.last.Import == Sending
	other := again && foreign(in.last, in.group)
	shrunken := func(n int) bool { return 2*n < base && base-n > brakeRows }
	// Of an export that is itself much smaller, all may be excepted by chance.
	brake := rows == 0 && base > 0 && (!mayBeEmpty || shrunken(s.Reported)) || rows > 0 && shrunken(rows)
	switch {
	case p.file.size > ninjaone.MaxUpload:
		p.refuse("size", fmt.Sprintf("The file of %d rows would have %d MB, and NinjaOne takes at most %d: nothing is sent.", rows, (p.file.size+999_999)/1_000_000, ninjaone.MaxUpload/1_000_000))
	case again && (lost || in.forced || other) && !(other && brake):
		p.verdict = Upload // these bytes have passed the brake, or a person let them
		if other {
			p.note("other", fmt.Sprintf("Somebody else put the file %q into NinjaOne's scan group %q. The file of this app replaces it. "+
				"If that comes again, see who uploads to the group: only one can.", words.Clip(in.group.FileName, 80), s.Group))
		}
	case again && !other:
		p.verdict = Nothing
	case brake:
		p.verdict = Wait
		s.Reason = fmt.Sprintf("The file has %d rows, and the last one had %d. What a file lacks counts as mended in NinjaOne, so it waits for a confirmation on the console.", rows, p.held)
		if s.WaitingSince.IsZero() || s.WaitingRows != rows || !in.last.Waits() {
			s.WaitingSince, s.WaitingRows = in.now, rows
		}
		s.WaitingOver = p.held
		p.tell("wait", s.Reason)
	case rows > 0 || mayBeEmpty:
		p.verdict = Upload
	case s.Reported == 0:
		p.verdict, s.Reason = Refuse, "Microsoft reports no vulnerabilities, and no file was sent before: there is nothing to send."
		p.note("empty", s.Reason)
	default:
		p.refuse("unmatched", fmt.Sprintf("NinjaOne has none of the %d devices of which Microsoft reports vulnerabilities: nothing is sent. The console lists them.", s.Unmatched))
	}
	if p.verdict != Wait {
		s.WaitingSince, s.WaitingRows = time.Time{}, 0
	}
	p.tellOthers(in)
	return p, nil
}

func (p *plan) refuse(key, reason string) {
	p.verdict, p.status.Reason = Refuse, reason
	p.tell(key, reason)
}

func (p *plan) tell(key, message string) {
	p.problems = append(p.problems, problems.Problem{Key: key, Message: message})
}

// note is tell for what nobody needs to mend.
func (p *plan) note(key, message string) {
	p.problems = append(p.problems, problems.Problem{Key: key, Notice: true, Message: message})
}

// tellOthers adds what is worth telling beside the verdict.
func (p *plan) tellOthers(in inputs) {
	s := p.status
	if s.Unmatched > 0 && p.verdict != Refuse {
		p.note("devices", fmt.Sprintf("NinjaOne does not have %d of the %d devices of which Microsoft reports vulnerabilities. Their %d rows are not sent, and the console lists them.", s.Unmatched, s.Matched+s.Unmatched, s.UnmatchedRows))
	}
	if n := in.found.Odd + in.found.Nameless; n > 0 {
		p.tell("records", fmt.Sprintf("%d records of vulnerabilities have no name of a device, or a CVE id that cannot be one. They are left out. If this lasts, ask Microsoft's support.", n))
	}
	if n := len(in.exceptions.Unread); n > 0 {
		p.tell("expiry", fmt.Sprintf("The expiry of %d exceptions of vulnerabilities in CIPP cannot be read, so they apply without end. The first is that of %s: save it again in CIPP.", n, in.exceptions.Unread[0]))
	}
	if s.Source == SourceCache {
		p.note("source", "The app may not read Defender's vulnerabilities itself (Vulnerability.Read, or Vulnerability.Read.All with GRAPH_AUTH application). It uploads what CIPP has cached, at most 48 hours old.")
	}
}

// compile makes the file of what was found, and what is shown of it. It counts in the
// status.
func (p *plan) compile(in inputs) (err error) {
	f, s := in.found, &p.status
	if err := f.compact(); err != nil {
		return err
	}
	excepted := make([]bool, len(f.texts)) // by CVE
	for _, v := range f.all {
		excepted[v.cve] = in.exceptions.IDs[f.texts[v.cve]]
	}
	s.Reported, s.Matched, s.Unmatched, s.UnmatchedRows, s.Exceptions, s.Excepted, s.Unknown = 0, 0, 0, 0, 0, 0, nil

	var values []string    // of devices in the file
	var rows []uint64      // value and CVE
	var exposed []uint64   // place in machines and finding
	var machines []int     // NinjaOne's ids
	place := map[int]int{} // of a machine
	cves, cveAt := []string{}, map[uint32]uint32{}
	applied, unknown := map[uint32]bool{}, map[string]string{}
	for d, list := range f.byDevice() {
		open, previous := 0, uint32(0)
		for i, n := range list {
			cve := f.all[n].cve
			if i > 0 && cve == previous {
				continue
			}
			previous = cve
			s.Reported++
			if excepted[cve] {
				s.Excepted++
				applied[cve] = true
			} else {
				open++
			}
		}
		if open == 0 {
			continue
		}
		name := f.texts[f.devices[d]]
		sent := false
		for _, m := range in.names.of(name) {
			value := in.names.value(m)
			if value == "" {
				continue
			}
			sent = true
			if _, known := place[m.ID]; !known {
				place[m.ID] = len(machines)
				machines, values = append(machines, m.ID), append(values, value)
			}
			at := uint64(place[m.ID]) << 32
			for _, n := range list {
				cve := f.all[n].cve
				if excepted[cve] {
					continue
				}
				if _, known := cveAt[cve]; !known {
					cveAt[cve] = uint32(len(cves))
					cves = append(cves, f.texts[cve])
				}
				if row := at | uint64(cveAt[cve]); len(rows) == 0 || rows[len(rows)-1] != row {
					rows = append(rows, row)
				}
				exposed = append(exposed, at|uint64(n))
			}
		}
		if sent {
			s.Matched++
			continue
		}
		s.Unmatched++
		s.UnmatchedRows += open
		if have, ok := unknown[strings.ToLower(name)]; !ok || name < have {
			unknown[strings.ToLower(name)] = name
		}
	}
	s.Exceptions = len(applied)
	for _, key := range slices.Sorted(maps.Keys(unknown)) {
		if len(s.Unknown) < listed {
			s.Unknown = append(s.Unknown, unknown[key])
		}
	}
	p.exposure = f.expose(in, machines, values, exposed)
	p.file, err = newFile(in.group.DeviceHeader, in.group.CVEHeader, values, cves, rows)
	return err
}

// byDevice yields each device with its findings, in order of CVE.
func (f *found) byDevice() func(yield func(uint32, []uint32) bool) {
	return func(yield func(uint32, []uint32) bool) {
		var list []uint32
		for i := 0; i < len(f.pairs); {
			d := uint32(f.pairs[i] >> 32)
			list = list[:0]
			for ; i < len(f.pairs) && uint32(f.pairs[i]>>32) == d; i++ {
				list = append(list, uint32(f.pairs[i]))
			}
			slices.SortFunc(list, f.compare)
			if !yield(d, list) {
				return
			}
		}
	}
}

// compare orders findings by CVE, then the worst first, then by what they are.
func (f *found) compare(a, b uint32) int {
	x, y := f.all[a], f.all[b]
	if x.cve != y.cve {
		return strings.Compare(f.texts[x.cve], f.texts[y.cve])
	}
	if x.severity != y.severity {
		return int(x.severity) - int(y.severity)
	}
	for _, pair := range [][2]uint32{{x.software, y.software}, {x.version, y.version}, {x.fixed, y.fixed}, {x.url, y.url}} {
		if c := strings.Compare(f.texts[pair[0]], f.texts[pair[1]]); c != 0 {
			return c
		}
	}
	return 0
}

// expose sums up what the file says, for people.
func (f *found) expose(in inputs, machines []int, values []string, exposed []uint64) exposure.Tenant {
	slices.Sort(exposed)
	t := exposure.Tenant{Day: in.now, Open: exposure.Counts{}}
	worst := map[uint32]uint8{} // severity by CVE
	var list []uint32
	for i := 0; i < len(exposed); {
		m := exposed[i] >> 32
		list = list[:0]
		for ; i < len(exposed) && exposed[i]>>32 == m; i++ {
			list = append(list, uint32(exposed[i]))
		}
		slices.SortFunc(list, f.compare)
		d := exposure.Device{NinjaOneID: machines[m], Name: in.names.called(machines[m], values[m]), Open: exposure.Counts{}}
		var first []finding // of each CVE
		for k, n := range list {
			v := f.all[n]
			if k > 0 && v.cve == f.all[list[k-1]].cve {
				continue
			}
			d.Open[exposure.Severities[v.severity]]++
			if had, known := worst[v.cve]; !known || v.severity < had {
				worst[v.cve] = v.severity
			}
			if v.severity <= uint8(exposure.High.Rank()) {
				first = append(first, v)
			}
		}
		slices.SortStableFunc(first, func(a, b finding) int { return int(a.severity) - int(b.severity) })
		for _, v := range first[:min(len(first), exposure.Shown)] {
			d.Worst = append(d.Worst, exposure.CVE{ID: f.texts[v.cve], Severity: exposure.Severities[v.severity],
				Software: f.texts[v.software], Version: f.texts[v.version], Fixed: f.texts[v.fixed], FixedURL: httpsOnly(f.texts[v.url])})
		}
		t.Devices = append(t.Devices, d)
	}
	for _, severity := range worst {
		t.Open[exposure.Severities[severity]]++
	}
	slices.SortFunc(t.Devices, exposure.Compare)
	return t
}

func httpsOnly(address string) string {
	if strings.HasPrefix(address, "https://") {
		return address
	}
	return ""
}
