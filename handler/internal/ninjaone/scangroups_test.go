package ninjaone_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

func TestScanGroups(t *testing.T) {
	sim, c := against(t)
	sim.AddScanGroup(ninjasim.ScanGroup{ID: 1 << 40, Name: "CIPP contoso.example", DeviceHeader: "Device", CVEHeader: "CVE", Records: 7})
	groups := must[[]ninjaone.ScanGroup](t)(c.ScanGroups(t.Context()))
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	g := groups[0]
	if g.ID != 1<<40 || g.Name != "CIPP contoso.example" || g.DeviceHeader != "Device" || g.CVEHeader != "CVE" || g.Mapping != "HOSTNAME" || g.Status != ninjaone.ScanComplete || !g.Processed.OK || g.Processed.Value != 7 {
		t.Errorf("the group is %+v", g)
	}
	content := "Device,CVE\nCON-01,CVE-2026-0001\n"
	writes := 0
	write := func(w io.Writer) error {
		writes++
		_, err := io.WriteString(w, content)
		return err
	}
	sim.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 503, Count: 1})
	g = must[ninjaone.ScanGroup](t)(c.UploadScan(t.Context(), g.ID, `a "b".csv`, int64(len(content)), write))
	if g.Status != ninjaone.ScanInProgress || g.FileName != `a "b".csv` || writes != 2 {
		t.Errorf("after the upload: %+v, written %d times", g, writes)
	}
	if up := sim.Uploads(g.ID); len(up) != 1 || string(up[0].Bytes) != content {
		t.Errorf("what came is %d files", len(up))
	}
	if g = must[ninjaone.ScanGroup](t)(c.ScanGroup(t.Context(), g.ID)); g.Status != ninjaone.ScanComplete || g.Processed.Value != 1 {
		t.Errorf("after the import: %+v", g)
	}
	if open := sim.OpenCVEs(g.ID)[31]; len(open) != 1 {
		t.Errorf("the device shows %v", open)
	}
}

// TestUploadScanFails: what is refused or cannot be written is told, and nothing
// of a broken file counts.
func TestUploadScanFails(t *testing.T) {
	sim, c := against(t)
	sim.AddScanGroup(ninjasim.ScanGroup{ID: 5, Name: "g", DeviceHeader: "Device", CVEHeader: "CVE"})
	broken := errors.New("broken")
	calls := func() int {
		n := 0
		for _, k := range sim.Calls() {
			n += k
		}
		return n
	}
	before := calls()
	if _, err := c.UploadScan(t.Context(), 5, "f.csv", ninjaone.MaxUpload+1, nil); err == nil || !strings.Contains(err.Error(), "200000000") {
		t.Errorf("too large: %v", err)
	}
	if calls() != before {
		t.Error("what is too large is sent")
	}
	if _, err := c.ScanGroup(t.Context(), 6); !errors.Is(err, ninjaone.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	fine := func(w io.Writer) error { _, err := io.WriteString(w, "Device,CVE\n"); return err }
	if _, err := c.UploadScan(t.Context(), 6, "f.csv", 11, fine); !errors.Is(err, ninjaone.ErrNotFound) {
		t.Errorf("to an unknown group: %v", err)
	}
	remove := sim.InjectFault(ninjasim.Fault{Path: "/upload$", Status: 413, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"errorMessage":"too large"}`})
	tries := 0
	if _, err := c.UploadScan(t.Context(), 5, "f.csv", 11, func(w io.Writer) error { tries++; return fine(w) }); err == nil || tries != 1 {
		t.Errorf("a refusal: %v after %d tries", err, tries)
	}
	remove()
	if _, err := c.UploadScan(t.Context(), 5, "f.csv", 11, func(w io.Writer) error { _, _ = io.WriteString(w, "Dev"); return broken }); err == nil {
		t.Error("half a file is sent")
	}
	if up := sim.Uploads(5); len(up) != 0 {
		t.Errorf("the group took %d files", len(up))
	}
}
