package ninjasim

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxCSV is the largest file that a scan group takes, in bytes. NinjaOne says 200 MB; this is the smaller reading of it.
const maxCSV = 200_000_000

// The states of a scan group's last import.
const (
	ImportComplete   = "COMPLETE"
	ImportInProgress = "IN_PROGRESS"
	ImportFailed     = "FAILED"
)

// Identifier is what the first column of a scan group's files holds.
type Identifier int

// The identifiers that NinjaOne knows.
const (
	HostName Identifier = iota
	IPAddress
	MACAddress
)

// ScanGroup is a source of vulnerabilities that an administrator set up in the console. No call
// makes, renames or removes one.
type ScanGroup struct {
	ID   int64
	Name string
	// DeviceHeader and CVEHeader are the columns that the administrator chose.
	DeviceHeader, CVEHeader string
	// Identifier is what devices are found by; Mapping is how answers name it. NinjaOne does not document its words.
	Identifier Identifier
	Mapping    string
	Vendor     string

	// The state of the last import, set by the instance.
	Status, FileName string
	Records          int // recordsProcessed
	Uploaded         time.Time
}

// Upload is one file that a scan group accepted.
type Upload struct {
	Time  time.Time
	Bytes []byte
	Rows  int // without the header
}

// Imports says how imports go that begin from now on.
type Imports struct {
	// Looks is how many reads of the group still find the import under way.
	Looks int
	// Fail ends an import as FAILED; what the group held stays.
	Fail bool
	// Processed cuts recordsProcessed, and what the group then holds, to that many rows; all rows when zero.
	Processed int
}

// scanGroup is a group with what it holds.
type scanGroup struct {
	ScanGroup
	uploads []Upload
	rows    [][2]string // of the import under way: device, CVE
	how     Imports     // of the import under way
	looks   int         // left until it ends

	open      map[int]map[string]bool // CVEs by device
	unmatched []string                // device cells of the last import that no device has
}

// AddScanGroup adds a scan group as an administrator does, with the columns that a first file gave it. One of the same id is
// replaced; two may have one name.
func (s *Server) AddScanGroup(g ScanGroup) {
	g.Status = cmp.Or(g.Status, ImportComplete)
	g.Vendor = cmp.Or(g.Vendor, "Other")
	g.Mapping = cmp.Or(g.Mapping, [...]string{"HOSTNAME", "IP_ADDRESS", "MAC_ADDRESS"}[g.Identifier])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanGroups[g.ID] = &scanGroup{ScanGroup: g, open: map[int]map[string]bool{}}
}

// RemoveScanGroup removes a scan group as an administrator does.
func (s *Server) RemoveScanGroup(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.scanGroups, id)
}

// SetImports says how imports go from now on. The zero value lets them succeed at the first look.
func (s *Server) SetImports(how Imports) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports = how
}

// ScanGroups are all scan groups in ascending order of id.
func (s *Server) ScanGroups() []ScanGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ScanGroup
	for _, id := range slices.Sorted(maps.Keys(s.scanGroups)) {
		list = append(list, s.scanGroups[id].ScanGroup)
	}
	return list
}

// Uploads are the files that a scan group accepted, in order of time. Counters are reset without them.
func (s *Server) Uploads(group int64) []Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.scanGroups[group]; g != nil {
		return slices.Clone(g.uploads)
	}
	return nil
}

// OpenCVEs are the CVEs that a scan group shows as open, by device, each list sorted. What an import under way brings is not
// among them, and what the newest complete file lacks counts as remediated.
func (s *Server) OpenCVEs(group int64) map[int][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := map[int][]string{}
	if g := s.scanGroups[group]; g != nil {
		for device, cves := range g.open {
			open[device] = slices.Sorted(maps.Keys(cves))
		}
	}
	return open
}

// UnmatchedRows are the device cells of the last import that no device of the instance answers to, each once, sorted.
func (s *Server) UnmatchedRows(group int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.scanGroups[group]; g != nil {
		return slices.Clone(g.unmatched)
	}
	return nil
}

// isUpload reports whether a path is that of an upload, whose body may be larger than others.
func isUpload(path string) bool {
	return strings.HasPrefix(path, "/v2/vulnerability/scan-groups/") && strings.HasSuffix(path, "/upload")
}

func (g *scanGroup) answered() map[string]any {
	body := map[string]any{"id": g.ID, "status": g.Status, "recordsProcessed": g.Records}
	putTexts(body, "groupName", g.Name, "fileName", g.FileName, "vendor", g.Vendor, "deviceIdHeader", g.DeviceHeader,
		"deviceInternalMapping", g.Mapping, "cveIdHeader", g.CVEHeader)
	if !g.Uploaded.IsZero() {
		body["lastFileUploadDate"] = g.Uploaded.UTC().Format(time.RFC3339)
	}
	return body
}

func (s *Server) listScanGroups(*call) reply {
	list := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.scanGroups)) {
		s.goOn(s.scanGroups[id])
		list = append(list, s.scanGroups[id].answered())
	}
	return answer(list)
}

func (s *Server) getScanGroup(c *call) reply {
	g := s.scanGroups[int64(c.id)]
	if g == nil {
		return s.notFound(c, "scan group")
	}
	s.goOn(g)
	return answer(g.answered())
}

// uploadScanGroup accepts a file. What it brings is there once the import has ended.
func (s *Server) uploadScanGroup(c *call) reply {
	g := s.scanGroups[int64(c.id)]
	if g == nil {
		return s.notFound(c, "scan group")
	}
	name, content, err := csvPart(c)
	if err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_file", map[string]any{"reason": err.Error()}))
	}
	if len(content) > maxCSV {
		return s.violationLocked(c, validationFailure(http.StatusRequestEntityTooLarge, "file_too_large", map[string]any{"max": maxCSV}))
	}
	rows, err := g.read(content)
	if err != nil {
		return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_file", map[string]any{"reason": err.Error()}))
	}
	now := s.config.Now()
	g.uploads = append(g.uploads, Upload{Time: now, Bytes: content, Rows: len(rows)})
	g.rows, g.how, g.looks = rows, s.imports, s.imports.Looks
	g.Status, g.FileName, g.Uploaded, g.Records = ImportInProgress, name, now, 0
	return answer(g.answered())
}

// csvPart reads the only part of the body, which must be a file named csv.
func csvPart(c *call) (name string, content []byte, err error) {
	_, parameters, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || parameters["boundary"] == "" {
		return "", nil, errors.New("the content type has no boundary")
	}
	reader := multipart.NewReader(bytes.NewReader(c.body), parameters["boundary"])
	for {
		part, err := reader.NextPart()
		switch {
		case err == io.EOF && name != "":
			return name, content, nil
		case err != nil:
			return "", nil, errors.New("the body is not a form with one file")
		case name != "" || part.FormName() != "csv" || part.FileName() == "":
			return "", nil, errors.New("the form must hold one file, under the name csv")
		}
		if media, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || media != "text/csv" {
			return "", nil, errors.New("the part csv is not text/csv")
		}
		name = part.FileName()
		if content, err = io.ReadAll(part); err != nil {
			return "", nil, errors.New("the part csv cannot be read")
		}
	}
}

// read holds a file to the columns of the group. Errors do not show what it holds.
func (g *scanGroup) read(content []byte) ([][2]string, error) {
	if !utf8.Valid(content) || bytes.HasPrefix(content, []byte("\ufeff")) {
		return nil, errors.New("the file is not UTF-8, or begins with a byte-order mark")
	}
	reader := csv.NewReader(bytes.NewReader(content))
	header, err := reader.Read()
	if err != nil {
		return nil, errors.New("the file has no header")
	}
	device, cve := slices.Index(header, g.DeviceHeader), slices.Index(header, g.CVEHeader)
	if len(header) != 2 || device < 0 || cve < 0 || device == cve {
		return nil, fmt.Errorf("the columns are not %q and %q", g.DeviceHeader, g.CVEHeader)
	}
	rows := [][2]string{}
	for {
		record, err := reader.Read()
		switch {
		case err == io.EOF:
			return rows, nil
		case err != nil:
			return nil, errors.New("a row is not CSV of two columns")
		case strings.TrimSpace(record[device]) == "" || strings.TrimSpace(record[cve]) == "":
			return nil, errors.New("a row has an empty cell")
		}
		rows = append(rows, [2]string{record[device], record[cve]})
	}
}

// goOn lets an import under way come closer to its end.
func (s *Server) goOn(g *scanGroup) {
	if g.Status != ImportInProgress {
		return
	}
	if g.looks > 0 {
		g.looks--
		return
	}
	rows := g.rows
	g.rows = nil
	if g.how.Fail {
		g.Status = ImportFailed
		return
	}
	if g.how.Processed > 0 {
		rows = rows[:min(g.how.Processed, len(rows))]
	}
	g.Status, g.Records = ImportComplete, len(rows)
	g.open, g.unmatched = map[int]map[string]bool{}, nil
	devices := s.identified(g.Identifier)
	unmatched := map[string]bool{}
	for _, row := range rows {
		if len(devices[row[0]]) == 0 {
			unmatched[row[0]] = true
		}
		for _, device := range devices[row[0]] {
			if g.open[device] == nil {
				g.open[device] = map[string]bool{}
			}
			g.open[device][row[1]] = true
		}
	}
	g.unmatched = slices.Sorted(maps.Keys(unmatched))
}

// identified finds devices by the identifier of a group. It finds only the value that NinjaOne
// itself shows. Nobody knows whether NinjaOne overlooks case, or takes the host's part of a
// qualified name. Groups belong to no organization, so a name that several devices have finds them
// all.
func (s *Server) identified(by Identifier) map[string][]int {
	found := map[string][]int{}
	for _, device := range inOrder(s.devices, func(d Device) bool { return d.ApprovalStatus == "APPROVED" }) {
		values := []string{device.SystemName}
		switch by {
		case IPAddress:
			values = device.IPAddresses
		case MACAddress:
			values = device.MACAddresses
		}
		for _, value := range values {
			if value != "" {
				found[value] = append(found[value], device.ID)
			}
		}
	}
	return found
}
