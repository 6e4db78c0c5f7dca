package ninjasim

import (
	"bytes"
	"fmt"
	"maps"
	"mime/multipart"
	"net/textproto"
	"slices"
	"testing"
)

// upload sends a file to the scan group 31.
func (i *instance) upload(field, mediaType, content string) received {
	i.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(textproto.MIMEHeader{"Content-Type": {mediaType},
		"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="cve.csv"`, field)}})
	must(i.t, err)
	if _, err := part.Write([]byte(content)); err != nil {
		i.t.Fatal(err)
	}
	must(i.t, form.Close())
	return i.send("POST", "/v2/vulnerability/scan-groups/31/upload", body.String(), "Content-Type", form.FormDataContentType())
}

func withScanGroup(t *testing.T) *instance {
	i := newInstance(t)
	i.AddScanGroup(ScanGroup{ID: 31, Name: "CIPP contoso.example", DeviceHeader: "device", CVEHeader: "cve"})
	return i
}

// TestRefusedFiles: a file that is refused leaves the group as it is.
func TestRefusedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		field, mediaType, content string
		status                    int
	}{
		"another field":      {"file", "text/csv", "device,cve\n", 400},
		"another type":       {"csv", "application/octet-stream", "device,cve\n", 400},
		"nothing":            {"csv", "text/csv", "", 400},
		"another column":     {"csv", "text/csv", "host,cve\nALD-LT-01,CVE-2026-90001\n", 400},
		"one column more":    {"csv", "text/csv", "device,cve,note\nALD-LT-01,CVE-2026-90001,x\n", 400},
		"a byte-order mark":  {"csv", "text/csv", "\ufeffdevice,cve\n", 400},
		"a row without CVE":  {"csv", "text/csv", "device,cve\nALD-LT-01, \n", 400},
		"a row of one cell":  {"csv", "text/csv", "device,cve\nALD-LT-01\n", 400},
		"more than 200 MB":   {"csv", "text/csv", "device,cve\n" + string(bytes.Repeat([]byte("x"), maxCSV)), 413},
		"exactly the header": {"csv", "text/csv", "device,cve\n", 200},
	} {
		t.Run(name, func(t *testing.T) {
			i := withScanGroup(t)
			a := i.upload(c.field, c.mediaType, c.content)
			if a.status != c.status || (len(i.Violations()) > 0) != (c.status != 200) || (len(i.Uploads(31)) == 1) != (c.status == 200) {
				t.Errorf("%d, violations %q, %d uploads", a.status, i.Violations(), len(i.Uploads(31)))
			}
		})
	}
	i := newInstance(t)
	if a := i.upload("csv", "text/csv", "device,cve\n"); a.status != 404 || len(i.Violations()) > 0 {
		t.Errorf("a group that is gone: %d, violations %q", a.status, i.Violations())
	}
}

// TestImports: a file replaces what its group holds once the import has ended well.
func TestImports(t *testing.T) {
	i := withScanGroup(t)
	look := func() (string, float64) {
		body := i.send("GET", "/v2/vulnerability/scan-groups/31", "").object(t)
		return body["status"].(string), body["recordsProcessed"].(float64)
	}
	load := func(content string, statuses ...string) {
		t.Helper()
		if status := i.upload("csv", "text/csv", content).object(t)["status"]; status != "IN_PROGRESS" {
			t.Errorf("the upload is answered with %s", status)
		}
		for n, want := range statuses {
			if status, _ := look(); status != want {
				t.Errorf("look %d finds %s, want %s", n+1, status, want)
			}
		}
	}
	holds := func(want map[int][]string) {
		t.Helper()
		if open := i.OpenCVEs(31); !maps.EqualFunc(open, want, slices.Equal) {
			t.Errorf("the group holds %v, want %v", open, want)
		}
	}
	i.SetImports(Imports{Looks: 2})
	load("cve,device\nCVE-2026-90001,ALD-LT-01\nCVE-2026-90002,ALD-LT-01\nCVE-2026-90001,BIR-MAC-01\nCVE-2026-90001,ald-lt-01\n", "IN_PROGRESS")
	holds(nil)
	look()
	if status, records := look(); status != "COMPLETE" || records != 4 {
		t.Errorf("the import ends %s with %v records", status, records)
	}
	first := map[int][]string{11: {"CVE-2026-90001", "CVE-2026-90002"}, 21: {"CVE-2026-90001"}}
	holds(first)
	if unmatched := i.UnmatchedRows(31); !slices.Equal(unmatched, []string{"ald-lt-01"}) {
		t.Errorf("no device is found for %q", unmatched)
	}
	i.SetImports(Imports{Fail: true})
	load("device,cve\n", "FAILED", "FAILED")
	holds(first)
	i.SetImports(Imports{Processed: 1})
	load("device,cve\nALD-SRV-01,CVE-2026-90003\nALD-LT-01,CVE-2026-90003\n", "COMPLETE")
	holds(map[int][]string{12: {"CVE-2026-90003"}})
	if v := i.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

// TestIdentifiers: a group finds devices by what it was set up for.
func TestIdentifiers(t *testing.T) {
	for name, c := range map[string]struct {
		by  Identifier
		row string
	}{"address": {IPAddress, "10.0.0.11"}, "hardware address": {MACAddress, "02:00:00:00:00:0B"}} {
		t.Run(name, func(t *testing.T) {
			i := newInstance(t)
			i.AddDevice(Device{ID: 11, OrganizationID: 1, SystemName: "ALD-LT-01", IPAddresses: []string{"10.0.0.11"}, MACAddresses: []string{"02:00:00:00:00:0B"}})
			i.AddScanGroup(ScanGroup{ID: 31, Name: "contoso.example", DeviceHeader: "device", CVEHeader: "cve", Identifier: c.by})
			i.upload("csv", "text/csv", "device,cve\n"+c.row+",CVE-2026-90001\nALD-LT-01,CVE-2026-90002\n")
			i.send("GET", "/v2/vulnerability/scan-groups", "")
			if open := i.OpenCVEs(31); len(open) != 1 || !slices.Equal(open[11], []string{"CVE-2026-90001"}) || !slices.Equal(i.UnmatchedRows(31), []string{"ALD-LT-01"}) {
				t.Errorf("the group holds %v and does not find %q", open, i.UnmatchedRows(31))
			}
		})
	}
}
