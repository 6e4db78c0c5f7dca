package wire

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/isotime"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// DecodeMailboxUsage decodes the file of
// GET /reports/getMailboxUsageDetail.
func DecodeMailboxUsage(ctx context.Context, r io.Reader) ([]tenant.MailboxUsage, error) {
	out := []tenant.MailboxUsage{}
	err := readCSV(ctx, r, []string{"User Principal Name", "Storage Used (Byte)"}, func(column func(string) string) int64 {
		if deleted(column) {
			return 0
		}
		out = append(out, tenant.MailboxUsage{
			UserPrincipalName: strings.Clone(column("User Principal Name")), // else it keeps its whole row in memory
			LastActivity:      day(column("Last Activity Date")),
			Items:             count(column("Item Count")),
			Used:              count(column("Storage Used (Byte)")),
			WarningQuota:      count(column("Issue Warning Quota (Byte)")),
			SendQuota:         count(column("Prohibit Send Quota (Byte)")),
			SendReceiveQuota:  count(column("Prohibit Send/Receive Quota (Byte)")),
			RefreshDate:       day(column("Report Refresh Date")),
		})
		return reply.Size(out[len(out)-1:])
	})
	return out, err
}

// DecodeOneDriveUsage decodes the file of
// GET /reports/getOneDriveUsageAccountDetail.
func DecodeOneDriveUsage(ctx context.Context, r io.Reader) ([]tenant.OneDriveUsage, error) {
	out := []tenant.OneDriveUsage{}
	err := readCSV(ctx, r, []string{"Owner Principal Name", "Storage Used (Byte)"}, func(column func(string) string) int64 {
		out = append(out, tenant.OneDriveUsage{
			OwnerPrincipalName: strings.Clone(column("Owner Principal Name")),
			SiteURL:            strings.Clone(column("Site URL")),
			Deleted:            deleted(column),
			LastActivity:       day(column("Last Activity Date")),
			Files:              count(column("File Count")),
			Used:               count(column("Storage Used (Byte)")),
			Allocated:          count(column("Storage Allocated (Byte)")),
			RefreshDate:        day(column("Report Refresh Date")),
		})
		return reply.Size(out[len(out)-1:])
	})
	return out, err
}

func deleted(column func(string) string) bool { return strings.EqualFold(column("Is Deleted"), "true") }

// readCSV gives each row of a CSV file to row, which reads it by column name. A column
// that is not there reads as "". The required columns must be there. Every row must have
// as many fields as the header, else the file was cut. The function row returns how many
// bytes of it the caller keeps.
func readCSV(ctx context.Context, r io.Reader, required []string, row func(column func(string) string) (kept int64)) (err error) {
	var kept, counted int64
	defer func() {
		if err != nil {
			_ = reply.Keep(ctx, -counted)
		}
	}()
	bounded := &boundedRows{in: r}
	in := bufio.NewReader(bounded)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	file := csv.NewReader(in)
	file.ReuseRecord = true
	header, err := file.Read()
	if err != nil {
		return fmt.Errorf("it is not a CSV file: %w", position(err))
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
		if err == nil {
			err = bounded.next()
		}
		if err != nil {
			return fmt.Errorf("reading the CSV file: %w", position(err))
		}
		kept += row(func(name string) string {
			if i, ok := index[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		})
		if kept >= counted+1<<20 {
			if err := reply.Keep(ctx, kept-counted); err != nil {
				return fmt.Errorf("reading the CSV file: %w", err)
			}
			counted = kept
		}
	}
}

// boundedRows ends a file whose rows or number of rows are beyond reason. What
// is kept of a row is little.
type boundedRows struct {
	in        io.Reader
	row       int64 // bytes that were read since the last row ended, and a buffer ahead
	rows, all int64
}

func (b *boundedRows) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	b.row += int64(n)
	b.all += int64(n)
	switch {
	case b.row > reply.Stream.Record:
		return 0, fmt.Errorf("%w: a row of it is larger than %d MiB", reply.ErrTooLarge, reply.Stream.Record>>20)
	case b.all > reply.Stream.Bytes:
		return 0, fmt.Errorf("%w: it is larger than %d MiB", reply.ErrTooLarge, reply.Stream.Bytes>>20)
	}
	return n, err
}

func (b *boundedRows) next() error {
	b.row = 0
	if b.rows++; b.rows > int64(reply.Stream.Records) {
		return fmt.Errorf("%w: it has more than %d rows", reply.ErrTooLarge, reply.Stream.Records)
	}
	return nil
}

func position(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// day reads a date; the zero time when there is none.
func day(s string) time.Time {
	t, ok := isotime.Parse(s)
	if !ok {
		return time.Time{}
	}
	return t.Truncate(24 * time.Hour)
}

// count reads a number; -1 when there is none.
func count(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// ReportSettings is the answer of GET /admin/reportSettings.
type ReportSettings struct {
	Concealed bool `json:"displayConcealedNames"`
}
