package wire

import (
	"strings"
	"testing"
)

const mailHeader = "User Principal Name,Storage Used (Byte),Is Deleted\n"

// TestReportsWithoutNumbers has the reports leave cells empty, or columns out.
func TestReportsWithoutNumbers(t *testing.T) {
	mail, err := DecodeMailboxUsage(strings.NewReader(mailHeader + "ada@tailspin.example,,False\n"))
	if err != nil || len(mail) != 1 || mail[0].Row.Used != -1 || mail[0].Row.Items != -1 || mail[0].Row.SendQuota != -1 {
		t.Errorf("mailboxes: %+v, %v", mail, err)
	}
	drives, err := DecodeOneDriveUsage(strings.NewReader("Owner Principal Name,Storage Used (Byte),File Count\nada@tailspin.example,0,\n"))
	if err != nil || len(drives) != 1 || drives[0].Row.Used != 0 || drives[0].Row.Files != -1 || drives[0].Row.Allocated != -1 {
		t.Errorf("drives: %+v, %v", drives, err)
	}
}

func FuzzReports(f *testing.F) {
	for _, seed := range []string{mailHeader + "a@b,1,False\n", "\ufeffOwner Principal Name,Storage Used (Byte)\n\"a\nb\",-1\n",
		"GUID,Product_Display_Name\n" + skuMain + ",\"Suite, big\"\n", "\"", "\xef\xbb", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if rows, err := DecodeMailboxUsage(strings.NewReader(in)); err == nil {
			for _, r := range rows {
				if r.Row.Used < -1 || r.Row.Items < -1 {
					t.Errorf("less than not known: %+v", r)
				}
			}
		}
		_, _ = DecodeOneDriveUsage(strings.NewReader(in))
		if names, err := DecodeSKUNames(strings.NewReader(in)); err == nil {
			for id, name := range names {
				if !IsGUID(id) || name == "" {
					t.Errorf("%q is named %q", id, name)
				}
			}
		}
	})
}
