package m365

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/reports"

	"cipp-ninjaone/handler/internal/tenant"
)

// concealed is why a usage report is absent in a tenant that hides names in it.
const concealed absence = "Usage reports hide user names in this tenant"

const serviceReports = "Microsoft's report download"

// usage is one row of a usage report, with the key that names its user.
type usage[T any] struct {
	key string
	row T
}

// mailboxUsage reads GET /reports/getMailboxUsageDetail(period='D7').
func (g *graph) mailboxUsage(ctx context.Context) ([]usage[tenant.MailboxUsage], error) {
	period := "D7"
	ri, err := reports.NewGetMailboxUsageDetailWithPeriodRequestBuilderInternal(g.v1(), g.adapter, &period).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	return readReport(ctx, g, ri, decodeMailboxUsage)
}

// oneDriveUsage reads GET /reports/getOneDriveUsageAccountDetail(period='D7').
func (g *graph) oneDriveUsage(ctx context.Context) ([]usage[tenant.OneDriveUsage], error) {
	period := "D7"
	ri, err := reports.NewGetOneDriveUsageAccountDetailWithPeriodRequestBuilderInternal(g.v1(), g.adapter, &period).ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	return readReport(ctx, g, ri, decodeOneDriveUsage)
}

// readReport follows the redirect of a report to its download, once more from
// the beginning if the file was cut. The download's address is itself a secret,
// and is fetched without the token.
func readReport[T any](ctx context.Context, g *graph, ri *abstractions.RequestInformation, decode func(io.Reader) (T, error)) (T, error) {
	var none T
	for attempt := 1; ; attempt++ {
		res, err := g.do(ctx, func(ctx context.Context) (*http.Request, error) { return g.native(ctx, ri) })
		if err != nil {
			return none, err
		}
		if res.StatusCode >= 300 {
			discard(res)
			if res, err = g.download(ctx, res); err != nil {
				return none, err
			}
		}
		v, err := decode(res.Body)
		discard(res)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case attempt > 1:
			return none, &bodyError{serviceReports, err}
		}
	}
}

func (g *graph) download(ctx context.Context, redirect *http.Response) (*http.Response, error) {
	address, err := redirect.Location()
	if err != nil {
		return nil, &bodyError{g.service, errors.New("a redirect without an address")}
	}
	allowed := func(req *http.Request) error {
		if u := req.URL; u.User != nil || !acceptable(u) || u.Scheme == "http" && g.origin.Scheme != "http" {
			return &linkError{g.service}
		}
		return nil
	}
	client := &http.Client{Transport: g.retry, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return &bodyError{serviceReports, errors.New("too many redirects")}
		}
		req.Header.Del("Referer") // it would carry the secret address on
		return allowed(req)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, &linkError{g.service}
	}
	if err := allowed(req); err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var link *linkError
		if errors.As(err, &link) {
			return nil, link
		}
		return nil, &transportError{serviceReports, withoutURL(err)}
	}
	if res.StatusCode != http.StatusOK {
		failure := errorOf(serviceReports, res)
		discard(res)
		return nil, failure
	}
	return res, nil
}

func decodeMailboxUsage(r io.Reader) ([]usage[tenant.MailboxUsage], error) {
	var out []usage[tenant.MailboxUsage]
	err := readCSV(r, []string{"User Principal Name", "Storage Used (Byte)"}, func(column func(string) string) {
		if deleted(column) {
			return
		}
		upn := strings.Clone(column("User Principal Name")) // else it keeps its whole row in memory
		out = append(out, usage[tenant.MailboxUsage]{upn, tenant.MailboxUsage{
			UserPrincipalName: upn,
			LastActivity:      day(column("Last Activity Date")),
			Items:             count(column("Item Count")),
			Used:              count(column("Storage Used (Byte)")),
			WarningQuota:      count(column("Issue Warning Quota (Byte)")),
			SendQuota:         count(column("Prohibit Send Quota (Byte)")),
			SendReceiveQuota:  count(column("Prohibit Send/Receive Quota (Byte)")),
			RefreshDate:       day(column("Report Refresh Date")),
		}})
	})
	return out, err
}

func decodeOneDriveUsage(r io.Reader) ([]usage[tenant.OneDriveUsage], error) {
	var out []usage[tenant.OneDriveUsage]
	err := readCSV(r, []string{"Owner Principal Name", "Storage Used (Byte)"}, func(column func(string) string) {
		if deleted(column) {
			return
		}
		upn := strings.Clone(column("Owner Principal Name"))
		out = append(out, usage[tenant.OneDriveUsage]{upn, tenant.OneDriveUsage{
			OwnerPrincipalName: upn,
			SiteURL:            strings.Clone(column("Site URL")),
			LastActivity:       day(column("Last Activity Date")),
			Files:              count(column("File Count")),
			Used:               count(column("Storage Used (Byte)")),
			Allocated:          count(column("Storage Allocated (Byte)")),
			RefreshDate:        day(column("Report Refresh Date")),
		}})
	})
	return out, err
}

func deleted(column func(string) string) bool { return strings.EqualFold(column("Is Deleted"), "true") }

// readCSV gives each row of a CSV file to row, which reads it by column name; a
// column that is not there reads as "". The required columns must be there, and
// every row must have as many fields as the header, else the file was cut.
func readCSV(r io.Reader, required []string, row func(column func(string) string)) error {
	in := bufio.NewReader(r)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	file := csv.NewReader(in)
	file.ReuseRecord = true
	header, err := file.Read()
	if err != nil {
		return fmt.Errorf("it is no CSV file: %w", position(err))
	}
	index := map[string]int{}
	for i, name := range header {
		index[strings.TrimSpace(name)] = i
	}
	for _, name := range required {
		if _, ok := index[name]; !ok {
			return fmt.Errorf("the CSV file lacks the column %q", name)
		}
	}
	for {
		record, err := file.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the CSV file: %w", position(err))
		}
		row(func(name string) string {
			if i, ok := index[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
	}
}

func position(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// count reads a number; -1 when there is none.
func count(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// named returns the rows of a report, or concealed when the report names no
// user. The users are the tenant's by lower-case principal name, or nil when
// they are not known.
func named[T any](rows []usage[T], users map[string]bool) ([]T, error) {
	out := make([]T, 0, len(rows))
	joined := len(rows) == 0
	for _, r := range rows {
		key := strings.ToLower(r.key)
		joined = joined || users[key] || users == nil && strings.Contains(key, "@")
		out = append(out, r.row)
	}
	if !joined {
		return nil, concealed
	}
	return out, nil
}
