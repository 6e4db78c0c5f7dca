package ninjaone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/reply"
)

// MaxUpload is the largest file that a scan group takes, in bytes: NinjaOne says
// 200 MB.
const MaxUpload = 200_000_000

// uploadTimeout is how long one attempt at an upload may take.
const uploadTimeout = 10 * time.Minute

// ScanGroup is a source of NinjaOne's vulnerability importer. An administrator makes
// it in the console, and there is no call that does. Source: schema PublicScanGroup.
type ScanGroup struct {
	ID       int64  `json:"id"`
	Name     string `json:"groupName"`
	FileName string `json:"fileName"` // of the last upload
	Status   string `json:"status"`   // of the last import: ScanComplete, ScanInProgress, or FAILED
	// Processed is how many records of the last upload NinjaOne processed, where it
	// says so.
	Processed reply.Optional[int] `json:"recordsProcessed"`
	// DeviceHeader and CVEHeader are the columns that a file must have.
	DeviceHeader string `json:"deviceIdHeader"`
	CVEHeader    string `json:"cveIdHeader"`
	// Mapping says what the first column holds: host name, IP or MAC. NinjaOne does
	// not document its words.
	Mapping string `json:"deviceInternalMapping"`
}

// States of a scan group's last import (ScanGroup.Status).
const (
	ScanComplete   = "COMPLETE"
	ScanInProgress = "IN_PROGRESS"
)

// ScanGroups returns all scan groups. It calls GET /v2/vulnerability/scan-groups,
// which has no pages.
func (c *Client) ScanGroups(ctx context.Context) ([]ScanGroup, error) {
	r := newRequest(http.MethodGet, "/v2/vulnerability/scan-groups", nil, nil, nil)
	return fetchKept(ctx, c, r, func(g ScanGroup) (ScanGroup, bool, error) { return g, g.ID != 0, nil })
}

// ScanGroup returns one scan group, or ErrNotFound. It calls GET
// /v2/vulnerability/scan-groups/{scan-group-id}.
func (c *Client) ScanGroup(ctx context.Context, id int64) (ScanGroup, error) {
	return c.scanGroup(ctx, newRequest(http.MethodGet, "/v2/vulnerability/scan-groups/{scan-group-id}", []any{id}, nil, nil), id)
}

// UploadScan sends a file to a scan group. Once NinjaOne has imported the file, it
// replaces all that the group held. Each attempt calls write, which must write the same
// bytes each time, as many as size says. The answer is the group, whose import is usually
// under way. It calls POST /v2/vulnerability/scan-groups/{scan-group-id}/upload.
func (c *Client) UploadScan(ctx context.Context, id int64, fileName string, size int64, write func(io.Writer) error) (ScanGroup, error) {
	r := newRequest(http.MethodPost, "/v2/vulnerability/scan-groups/{scan-group-id}/upload", []any{id}, nil, nil)
	if size > MaxUpload {
		return ScanGroup{}, r.wrap(fmt.Errorf("the file has %d bytes, and NinjaOne takes %d", size, int64(MaxUpload)))
	}
	r.safe = true // the same bytes twice leave what they leave once
	r.timeout = uploadTimeout
	r.form = newForm(fileName, size, write)
	return c.scanGroup(ctx, r, id)
}

func (c *Client) scanGroup(ctx context.Context, r *request, id int64) (ScanGroup, error) {
	r.limits = reply.Object
	return one(ctx, c, r, id, func(g ScanGroup) int64 { return g.ID })
}

// form is a body of type multipart/form-data with one file, which the client writes as it
// sends it.
type form struct {
	contentType string
	size        int64
	head, tail  string
	write       func(io.Writer) error
}

// newForm makes a form whose file has the name csv, as the OpenAPI document says.
func newForm(fileName string, size int64, write func(io.Writer) error) *form {
	var b strings.Builder
	w := multipart.NewWriter(&b)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", multipart.FileContentDisposition("csv", fileName))
	h.Set("Content-Type", "text/csv")
	_, _ = w.CreatePart(h) // a strings.Builder takes everything
	head := b.String()
	_ = w.Close()
	f := &form{contentType: w.FormDataContentType(), head: head, tail: b.String()[len(head):], write: write}
	f.size = int64(len(f.head)) + size + int64(len(f.tail))
	return f
}

// errShort ends a body that did not get all of its file.
var errShort = errors.New("the file could not be written")

// open returns the body. Closing it ends the writing.
func (f *form) open() io.ReadCloser {
	in, out := io.Pipe()
	go func() {
		_, err := io.WriteString(out, f.head)
		if err == nil {
			if err = f.write(out); err == nil {
				_, err = io.WriteString(out, f.tail)
			} else {
				err = fmt.Errorf("%w: %w", errShort, err)
			}
		}
		_ = out.CloseWithError(err) // it never fails; nil is the end
	}()
	return in
}

// attach makes the form the body of a request.
func (f *form) attach(req *http.Request) {
	req.Body, req.ContentLength = f.open(), f.size
	req.GetBody = func() (io.ReadCloser, error) { return f.open(), nil }
	req.Header.Set("Content-Type", f.contentType)
}
