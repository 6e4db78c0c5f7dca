package m365sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	downloadPath     = "/report-download/"
	downloadLife     = 5 * time.Minute
	downloadFetches  = 3
	byteOrderMark    = "\ufeff"
	mailboxReport    = "getMailboxUsageDetail"
	concealedHashLen = 32
)

// download is a prepared report, good for a few fetches within a few minutes.
type download struct {
	name    string
	csv     []byte
	expires time.Time
	fetches int
}

// column is one column of a report with the key of its values; without one it is empty.
type column struct{ header, key string }

var reportColumns = map[string][]column{
	mailboxReport: {
		{"Report Refresh Date", "reportRefreshDate"}, {"User Principal Name", "userPrincipalName"},
		{"Display Name", "displayName"}, {"Is Deleted", "isDeleted"}, {"Deleted Date", "deletedDate"},
		{"Created Date", "createdDate"}, {"Last Activity Date", "lastActivityDate"}, {"Recipient Type", ""},
		{"Item Count", "itemCount"}, {"Storage Used (Byte)", "storageUsedInBytes"},
		{"Issue Warning Quota (Byte)", "issueWarningQuotaInBytes"}, {"Prohibit Send Quota (Byte)", "prohibitSendQuotaInBytes"},
		{"Prohibit Send/Receive Quota (Byte)", "prohibitSendReceiveQuotaInBytes"},
		{"Deleted Item Count", "deletedItemCount"}, {"Deleted Item Size (Byte)", "deletedItemSizeInBytes"},
		{"Deleted Item Quota (Byte)", ""}, {"Has Archive", "hasArchive"}, {"Report Period", "reportPeriod"},
	},
	"getOneDriveUsageAccountDetail": {
		{"Report Refresh Date", "reportRefreshDate"}, {"Site Id", ""}, {"Site URL", "siteUrl"},
		{"Owner Display Name", "ownerDisplayName"}, {"Is Deleted", "isDeleted"}, {"Last Activity Date", "lastActivityDate"},
		{"File Count", "fileCount"}, {"Active File Count", "activeFileCount"}, {"Storage Used (Byte)", "storageUsedInBytes"},
		{"Storage Allocated (Byte)", "storageAllocatedInBytes"}, {"Owner Principal Name", "ownerPrincipalName"},
		{"Report Period", "reportPeriod"},
	},
}

// concealedKeys are the values that a concealed report shows as hashes.
var concealedKeys = []string{"userPrincipalName", "displayName", "ownerPrincipalName", "ownerDisplayName", "siteUrl"}

// serveReport answers a usage report: a redirect to a CSV download.
func serveReport(s *Server, c *call, _ *query) *answer {
	period, ok := strings.CutPrefix(c.params["args"], "period='")
	period, ok2 := strings.CutSuffix(period, "'")
	if !ok || !ok2 || !slices.Contains([]string{"D7", "D30", "D90", "D180"}, period) {
		return s.errorAnswer(c.r, badRequest("Invalid period; it must be D7, D30, D90 or D180."))
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(c.route.path, "/reports/"), "(")
	columns := reportColumns[name]
	var rows []Entity
	c.t.View(func(t *Tenant) {
		source := t.OneDriveUsage
		if name == mailboxReport {
			source = t.MailboxUsage
		}
		for _, e := range source {
			row := Entity{"reportPeriod": strings.TrimPrefix(period, "D")}
			for k, v := range e {
				if t.ReportsConcealed && slices.Contains(concealedKeys, k) {
					v = conceal(fmt.Sprint(t.ID, k, v))
				}
				row[k] = v
			}
			rows = append(rows, row)
		}
	})
	token := randomToken()
	s.mu.Lock()
	s.downloads[token] = &download{name: name + period + ".csv", csv: reportCSV(columns, rows), expires: s.config.Now().Add(downloadLife)}
	base := s.downloadURL
	s.mu.Unlock()
	return &answer{status: http.StatusFound, header: http.Header{"Location": {base + downloadPath + token}}}
}

func reportCSV(columns []column, rows []Entity) []byte {
	var b bytes.Buffer
	b.WriteString(byteOrderMark)
	w := csv.NewWriter(&b)
	var line []string
	for _, c := range columns {
		line = append(line, c.header)
	}
	w.Write(line)
	for _, e := range rows {
		line = line[:0]
		for _, c := range columns {
			line = append(line, csvValue(e[c.key]))
		}
		w.Write(line)
	}
	w.Flush()
	return b.Bytes()
}

func csvValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func conceal(v string) string {
	sum := sha256.Sum256([]byte(v))
	return strings.ToUpper(hex.EncodeToString(sum[:]))[:concealedHashLen]
}

// DownloadHandler serves the report downloads that Graph redirects to. Their URL alone
// authenticates them. It refuses a call that still carries a token, as the real storage
// does.
func (s *Server) DownloadHandler() http.Handler {
	return s.door("download", s.answerDownload)
}

func (s *Server) answerDownload(r *http.Request) *answer {
	s.count(r, downloadPath+"{token}")
	return s.trouble(r, "download", nil, func(r *http.Request) *answer {
		s.mu.Lock()
		d := s.downloads[strings.TrimPrefix(r.URL.Path, downloadPath)]
		gone := d == nil || !s.config.Now().Before(d.expires) || d.fetches >= downloadFetches
		if !gone {
			d.fetches++
		}
		s.mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "":
			m := "a report download was asked for with a token"
			return s.errorAnswer(r, &apiError{status: http.StatusForbidden, code: "AuthenticationFailed", message: m, violation: m})
		case r.Method != http.MethodGet || r.URL.RawQuery != "":
			return s.errorAnswer(r, badRequest("A download takes a plain GET."))
		case gone:
			return s.errorAnswer(r, &apiError{status: http.StatusForbidden, code: "AccessDenied", message: "The download has expired."})
		}
		return &answer{status: http.StatusOK, body: d.csv, header: http.Header{
			"Content-Type": {"application/octet-stream"}, "Content-Disposition": {`attachment; filename="` + d.name + `"`},
		}}
	})
}
