package ninjasim

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
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
