package vulnerabilities

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage/storagetest"
	"cipp-ninjaone/sandbox/draw"
	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
	"cipp-ninjaone/sandbox/storageproxy"
)

// TestPlanIsSafe plans many turns on random data against a model of the group. A
// file is all that Microsoft reports of known devices, less exceptions, or it is
// not sent; and only the brake, a person and the bytes decide which.
func TestPlanIsSafe(t *testing.T) {
	for n := range uint64(300) {
		rng := rand.New(rand.NewPCG(18, n))
		var devices []ninjaone.Device
		for i := range 1 + rng.IntN(4) {
			devices = append(devices, ninjaone.Device{ID: i + 1, SystemName: pc(i)})
		}
		names := newNames(byName, devices, devicematch.Matches{})
		group := ninjaone.ScanGroup{ID: 1, Name: "g", DeviceHeader: "d", CVEHeader: "c"}
		var last Status
		holds := map[Row]bool{} // what the group holds
		for turn := range 12 {
			now := time.Date(2026, 11, 1+turn, 0, 0, 0, 0, time.UTC)
			f, want, reported, excepted := newFound(t.Context()), map[Row]bool{}, 0, 0
			except := map[string]bool{}
			for c := range 40 {
				if rng.IntN(12) == 0 || turn == 7 && rng.IntN(2) == 0 {
					except[cve(c)] = true
				}
			}
			if rng.IntN(10) == 0 { // all is excepted
				for c := range 40 {
					except[cve(c)] = true
				}
			}
			share := []int{0, 1, 5, 9, 10}[rng.IntN(5)]
			for d := range 5 { // one device more than NinjaOne has at most
				for c := range 40 {
					if rng.IntN(10) >= share {
						continue
					}
					reported++
					name := []string{pc(d), strings.ToLower(pc(d)), pc(d) + ".corp.example"}[rng.IntN(3)]
					for range 1 + rng.IntN(2) {
						must(t, f.add(&wire.Vulnerability{DeviceID: pc(d), DeviceName: name, CVE: cve(c), Severity: "High", SoftwareVersion: fmt.Sprint(rng.IntN(3))}))
					}
					switch {
					case except[cve(c)]:
						excepted++
					case d < len(devices):
						want[Row{pc(d), cve(c)}] = true
					}
				}
			}
			if last.Waits() && rng.IntN(2) == 0 {
				last.Confirmed = now.Add(-time.Hour)
			}
			in := inputs{now: now, forced: rng.IntN(6) == 0, last: last, group: group, found: f, names: names, exceptions: cipp.CVEExceptions{IDs: except}}
			p, err := decide(in)
			must(t, err)
			where := fmt.Sprintf("seed %d, turn %d: %s after %+v", n, turn, p.verdict, last)
			got := map[Row]bool{}
			for _, r := range p.file.rows {
				got[Row{p.file.devices[r>>32], p.file.cves[uint32(r)]}] = true
			}
			if !maps.Equal(got, want) || p.status.Reported != reported || p.status.Excepted != excepted {
				t.Fatalf("%s: the file has %d rows, want %d; %+v", where, len(got), len(want), p.status)
			}
			confirmed := !last.WaitingSince.IsZero() && !last.Waits()
			fewer := func(n, than int) bool { return 2*n < than && than-n > brakeRows }
			emptied := func(before int) bool { // without all that was open being excepted
				return len(want) == 0 && (reported == 0 || excepted < reported || fewer(reported, before))
			}
			empty, shrunken := emptied(len(holds)), len(want) > 0 && fewer(len(want), len(holds))
			switch p.verdict {
			case Upload:
				again := p.file.digest == last.Digest // which passed before
				if !confirmed && !again && (empty || shrunken) {
					t.Fatalf("%s: a file of %d rows replaces %d", where, len(want), len(holds))
				}
				if confirmed && !again && (emptied(last.WaitingRows) && last.WaitingRows > 0 || len(want) > 0 && fewer(len(want), last.WaitingRows)) {
					t.Fatalf("%s: %d rows go where %d were confirmed", where, len(want), last.WaitingRows)
				}
				last = p.status
				last.GroupID, last.Digest, last.Rows, last.Import, last.Held = p.groupID, p.file.digest, len(want), Sending, p.held
				last.WaitingSince, last.WaitingRows = time.Time{}, 0
				switch rng.IntN(4) {
				case 0:
					last.Import = Failed
				case 1: // the answer is lost, and the file came or not
					if rng.IntN(2) == 0 {
						holds = want
					}
				default:
					last.Import, last.Held, holds = Complete, last.Rows, want
				}
			case Nothing:
				if !maps.Equal(holds, want) {
					t.Fatalf("%s: the group holds %d rows, and %d are reported", where, len(holds), len(want))
				}
				last = p.status
			default:
				if !empty && !shrunken && p.verdict == Wait && len(holds) == p.held {
					t.Fatalf("%s: nothing is wrong with %d rows", where, len(want))
				}
				last = p.status
			}
		}
	}
}

// truth is what Microsoft would report at present, by NinjaOne's devices.
func (l *lab) truth(excepted map[string]bool) map[int][]string {
	truth := map[int][]string{}
	l.tenant.View(func(t *m365sim.Tenant) {
		for _, v := range t.Vulnerabilities {
			for i, d := range l.Seed.NinjaDevices {
				if short(v.DeviceName) == short(pc(i)) && !excepted[v.CVE] && !slices.Contains(truth[d.ID], v.CVE) {
					truth[d.ID] = append(truth[d.ID], v.CVE)
				}
			}
		}
	})
	for _, list := range truth {
		slices.Sort(list)
	}
	return truth
}

// TestNoSequenceOfFailuresClosesACVE runs turns in all kinds of trouble. What was
// open and is still reported stays open, whatever happens; when the trouble is over
// NinjaOne shows just what Microsoft reports, less exceptions.
func TestNoSequenceOfFailuresClosesACVE(t *testing.T) {
	for _, n := range draw.Below(t, 2, uint64(2)) {
		l := newLab(t, 3)
		rng := rand.New(rand.NewPCG(1018, n))
		excepted := map[string]bool{}
		group := l.NinjaOne.ScanGroups()[0]
		troubles := []func(){
			func() {},
			func() { l.M365.AddFault(m365sim.Fault{Service: "defender", Empty: true}) },
			func() { l.M365.AddFault(m365sim.Fault{Service: "defender", Status: 500}) },
			func() { l.M365.AddFault(m365sim.Fault{Service: "defender", Malformed: true}) },
			func() { l.M365.AddFault(m365sim.Fault{Service: "defender", Status: 403}) },
			func() { l.M365.AddFault(m365sim.Fault{Service: "login", Status: 400}) },
			func() {
				l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/devices-detailed", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: "[]"})
			},
			func() { l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 400}) },
			func() { l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 500, AfterHandling: true}) },
			func() { l.NinjaOne.InjectFault(ninjasim.Fault{Path: "/upload$", Malformed: true, AfterHandling: true}) },
			func() { l.imports(ninjasim.Imports{Fail: true}) },
			func() { l.imports(ninjasim.Imports{Looks: 3}) },
			func() {
				l.Proxy.Inject(storageproxy.Fault{Service: "Table", Holds: []string{"CveExceptions"}, Status: 403, Code: "AuthorizationFailure"})
			},
			func() {
				l.Proxy.Inject(storageproxy.Fault{Service: "Blob", Method: "PUT", Path: regexp.MustCompile(`\.gz$`), Status: 403, Code: "AuthorizationFailure"})
			},
		}
		random := func(share int) (list []m365sim.Vulnerability) {
			for d := range 4 {
				for c := range 30 {
					if rng.IntN(10) < share {
						list = append(list, vulnerable([]string{pc(d), pc(d) + ".corp.example"}[rng.IntN(2)], cve(c)))
					}
				}
			}
			return list
		}
		for day := range 20 {
			l.report(random([]int{9, 9, 5, 1}[rng.IntN(4)])...)
			if rng.IntN(6) == 0 {
				id := cve(rng.IntN(30))
				excepted[id] = true
				l.except(id, "ALL", "")
			}
			which := rng.IntN(len(troubles))
			troubles[which]()
			before, truth := l.NinjaOne.OpenCVEs(group.ID), l.truth(excepted)
			l.pass(24 * time.Hour)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			m := Message{TenantID: l.ref, Force: rng.IntN(4) == 0}
			_ = l.worker.Run(ctx, m) // it may well fail
			for range 6 {
				l.pass(time.Minute)
				_ = l.worker.Run(ctx, Message{TenantID: l.ref, Look: true})
			}
			cancel()
			after := l.NinjaOne.OpenCVEs(group.ID)
			for device, list := range truth {
				for _, id := range list {
					if slices.Contains(before[device], id) && !slices.Contains(after[device], id) {
						t.Fatalf("seed %d, day %d, trouble %d: %s of device %d is reported and was closed", n, day, which, id, device)
					}
				}
			}
			l.M365.ClearFaults()
			l.NinjaOne.ClearFaults()
			l.Proxy.ClearFaults()
			l.imports(ninjasim.Imports{})
			rows := 0
			for _, list := range truth {
				rows += len(list)
			}
			if s := l.status(); s.Waits() && s.WaitingRows == rows && rng.IntN(3) == 0 { // somebody who knows
				must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
			}
		}
		for range 3 { // an import that failed, a confirmation, and the end
			l.day()
			if l.status().Waits() {
				must(t, l.worker.Confirm(t.Context(), l.ref, l.status().WaitingSince))
			}
		}
		if got, want := l.NinjaOne.OpenCVEs(group.ID), l.truth(excepted); !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("seed %d: NinjaOne shows %v, want %v", n, got, want)
		}
	}
}

// storageCalls are all requests to storage but those of leases, which a process that
// ended cannot give up: theirs run out.
var storageCalls = regexp.MustCompile(`^/[^/]+/(ninjaone-sync/[vm]|ninjaone-sync$|ninjaone-v|[A-Z$])`)

// TestCrash ends the process at every call of a turn and of the look after it, before
// or after the call was carried out. The message comes again, as the host brings it,
// and does what is left. Each day tries one call in three.
func TestCrash(t *testing.T) {
	l := newLab(t, 3)
	l.reportMany(3, 3)
	l.run(Message{})
	crash := func(where string, n int, late bool, arm func(hit func()) (disarm func())) (crashed bool) {
		size := 3 + (n+len(where))%2
		if late {
			size += 2
		}
		l.report()
		l.reportMany(3, size)
		ctx, cancel := context.WithCancel(t.Context())
		l.pass(24 * time.Hour)
		before := len(l.NinjaOne.Uploads(groupID))
		disarm := arm(func() { crashed = true; cancel() })
		err := l.worker.Run(ctx, Message{TenantID: l.ref})
		if err == nil {
			l.pass(time.Minute)
			err = l.worker.Run(ctx, Message{TenantID: l.ref, Look: true})
		}
		disarm()
		cancel()
		if crashed && err == nil && l.status().Import != InProgress && l.status().Import != Complete {
			t.Errorf("%s, call %d, late %v: the message ended although the process did: %+v", where, n, late, l.status())
		}
		s := l.run(Message{})
		if s.Import != Complete || s.Reason != "" || s.Rows != 3*size {
			t.Errorf("%s, call %d, late %v: the status is %+v", where, n, late, s)
		}
		if got, want := l.NinjaOne.OpenCVEs(groupID), l.truth(nil); !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s, call %d, late %v: NinjaOne shows %v, want %v", where, n, late, got, want)
		}
		if sent := len(l.NinjaOne.Uploads(groupID)) - before; sent > 1 {
			t.Errorf("%s, call %d, late %v: the file was sent %d times", where, n, late, sent)
		}
		l.noBlobsBut(s)
		return crashed
	}
	first, step := draw.Every(t, 3)
	for _, late := range []bool{false, true} {
		calls := first
		for n := first; crash("storage", n, late, func(hit func()) func() {
			return l.Proxy.Inject(storageproxy.Fault{Path: storageCalls, Skip: n, Reset: true, AfterHandling: late, OnHit: hit})
		}); n += step {
			calls += step
		}
		ninja := first
		for n := first; crash("NinjaOne", n, late, func(hit func()) func() {
			return l.NinjaOne.InjectFault(ninjasim.Fault{Path: "^/v2/", Skip: n, Reset: true, AfterHandling: late, OnHit: hit})
		}); n += step {
			ninja += step
		}
		if calls < 10 || ninja < 4 {
			t.Errorf("only %d calls of storage and %d of NinjaOne", calls, ninja)
		}
		t.Logf("late %v: about %d calls of storage, %d of NinjaOne", late, calls, ninja)
	}
}

// noBlobsBut wants the blobs of the file that NinjaOne took, and no others.
func (l *lab) noBlobsBut(s Status) {
	l.t.Helper()
	got := storagetest.Blobs(l.t, l.worker.Files.Blobs, blobPrefix+l.ref+"/")
	if want := []string{fileBlob(l.ref, s.Shown), exposureBlob(l.ref, s.Shown)}; !slices.Equal(got, want) {
		l.t.Errorf("the blobs are %q, want %q", got, want)
	}
}
