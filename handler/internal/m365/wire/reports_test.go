package wire

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
)

const mailHeader = "User Principal Name,Storage Used (Byte),Is Deleted\n"

// TestReportsWithoutNumbers has the reports leave cells empty, or columns out.
func TestReportsWithoutNumbers(t *testing.T) {
	mail, err := DecodeMailboxUsage(t.Context(), strings.NewReader(mailHeader+"ada@tailspin.example,,False\n"))
	if err != nil || len(mail) != 1 || mail[0].Used != -1 || mail[0].Items != -1 || mail[0].SendQuota != -1 {
		t.Errorf("mailboxes: %+v, %v", mail, err)
	}
	drives, err := DecodeOneDriveUsage(t.Context(), strings.NewReader("Owner Principal Name,Storage Used (Byte),File Count\nada@tailspin.example,0,\n"))
	gone, goneErr := DecodeOneDriveUsage(t.Context(), strings.NewReader("Owner Principal Name,Storage Used (Byte),Is Deleted\nada@tailspin.example,0,True\n"))
	if goneErr != nil || len(gone) != 1 || !gone[0].Deleted {
		t.Errorf("a drive whose owner is deleted: %+v, %v", gone, goneErr)
	}
	if err != nil || len(drives) != 1 || drives[0].Deleted || drives[0].Used != 0 || drives[0].Files != -1 || drives[0].Allocated != -1 {
		t.Errorf("drives: %+v, %v", drives, err)
	}
}

// TestDatesOfReports has the reports write their dates in other forms of ISO 8601.
func TestDatesOfReports(t *testing.T) {
	const header = "User Principal Name,Storage Used (Byte),Report Refresh Date,Last Activity Date\n"
	want := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for _, form := range []string{"2026-11-20", "2026-11-20T00:00:00Z", "2026-11-20T13:14:15.1234567Z", "2026-11-20T13:14:15",
		"2026-11-20 13:14:15", "20261120", "20261120T131415Z", "2026-324", "2026-W47-5", "2026-11-21T01:00:00+02:00"} {
		rows, err := DecodeMailboxUsage(t.Context(), strings.NewReader(header+"ada@tailspin.example,1,"+form+","+form+"\n"))
		if err != nil || len(rows) != 1 || !rows[0].LastActivity.Equal(want) || !rows[0].RefreshDate.Equal(want) {
			t.Errorf("%s: %+v, %v", form, rows, err)
		}
	}
	for _, form := range []string{"", "never", "20/11/2026"} {
		rows, err := DecodeMailboxUsage(t.Context(), strings.NewReader(header+"ada@tailspin.example,1,2026-11-20,"+form+"\n"))
		if err != nil || len(rows) != 1 || !rows[0].LastActivity.IsZero() {
			t.Errorf("%q: %+v, %v", form, rows, err)
		}
	}
}

func TestTime(t *testing.T) {
	for in, want := range map[string]string{
		`"2026-11-20T13:14:15Z"`: "2026-11-20T13:14:15Z", `"2026-11-20T13:14:15"`: "2026-11-20T13:14:15Z",
		`"2026-11-20T13:14:15.5+01:00"`: "2026-11-20T12:14:15.5Z", `"2026-11-20"`: "2026-11-20T00:00:00Z",
		`"0001-01-01T00:00:00Z"`: "", `"9999-12-31T23:59:59Z"`: "", `""`: "", `null`: "", `2026`: "", `{}`: "", `"soon"`: "",
	} {
		w := Time{time.Now()}
		if err := w.UnmarshalJSON([]byte(in)); err != nil || w.IsZero() != (want == "") || want != "" && w.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v, %v; want %q", in, w, err, want)
		}
	}
}

func FuzzReports(f *testing.F) {
	for _, seed := range []string{mailHeader + "a@b,1,False\n", "\ufeffOwner Principal Name,Storage Used (Byte)\n\"a\nb\",-1\n", "\"", "\xef\xbb", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if rows, err := DecodeMailboxUsage(t.Context(), strings.NewReader(in)); err == nil {
			for _, r := range rows {
				if r.Used < -1 || r.Items < -1 {
					t.Errorf("less than not known: %+v", r)
				}
			}
		}
		_, _ = DecodeOneDriveUsage(t.Context(), strings.NewReader(in))
	})
}

// TestReportBombs has files that grow for ever end at their bound.
func TestReportBombs(t *testing.T) {
	for begin, again := range map[string]string{
		mailHeader + `"`:  "name\n",
		mailHeader:        "a@tailspin.example,1,False\n",
		"":                "column,",
		mailHeader + "\n": "\n",
	} {
		in := &growing{rest: begin, again: strings.Repeat(again, 4096/len(again))}
		if _, err := DecodeMailboxUsage(t.Context(), in); !errors.Is(err, reply.ErrTooLarge) || in.n > 64<<20 {
			t.Errorf("%.60q: %v after %d bytes", begin+again, err, in.n)
		}
	}
}

// TestReportEnds: a file whose rows are within their bounds ends at its own.
func TestReportEnds(t *testing.T) {
	b := &boundedRows{in: strings.NewReader("a@tailspin.example,1,False\n"), all: reply.Stream.Bytes}
	if _, err := b.Read(make([]byte, 10)); !errors.Is(err, reply.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// growing is a text that goes on with another for ever.
type growing struct {
	rest, again string
	n           int
}

func (a *growing) Read(p []byte) (int, error) {
	if a.rest == "" {
		a.rest = a.again
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	a.n += n
	return n, nil
}

func FuzzSKUNames(f *testing.F) {
	for _, seed := range []string{"GUID,Product_Display_Name\n" + skuMain + ",\"Suite, big\"\n", "\ufeff???Product_Display_Name,GUID\nA," + skuMain + "\n",
		"GUID\n", "GUID,GUID\n,\n", "\"", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		names, err := DecodeSKUNames(strings.NewReader(in))
		if (err == nil) != (len(names) > 0) {
			t.Errorf("%d names, %v", len(names), err)
		}
		for id, name := range names {
			if guid.Parse(id) == "" || name == "" || !utf8.ValidString(name) {
				t.Errorf("%q is named %q", id, name)
			}
		}
	})
}
