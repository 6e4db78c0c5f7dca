package cipp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cipp-ninjaone/handler/internal/storage"
)

func accept(ExtensionConfig) error { return nil }

func property(name, value string) Property { return Property{name, json.RawMessage(value)} }

func (s *Store) config(t *testing.T) string {
	t.Helper()
	_, text, err := s.extensionRow(t.Context())
	must(t, err)
	return text
}

func TestSaveNinjaOneSettings(t *testing.T) {
	changes := []Property{property("Enabled", "true"), property("ClientID", `"new"`)}
	refuse := errors.New("refused")
	for _, tt := range []struct {
		name   string
		rows   []storage.Entity
		check  func(ExtensionConfig) error
		want   string
		err    string
		stored int // rows afterwards
	}{
		{name: "the first save", check: accept, want: `{"NinjaOne":{"Enabled":true,"ClientID":"new"}}`, stored: 1},
		{name: "an empty row", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", " ")}, check: accept,
			want: `{"NinjaOne":{"Enabled":true,"ClientID":"new"}}`, stored: 1},
		{name: "others stay to the byte", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"Hudu": {"b":1.50, "a":"<é>"},"NinjaOne":{"Enabled":false,"Instance":"eu.ninjarmm.com","Unknown":[1]},"HaloPSA":null}`, "Other", int32(7))}, check: accept,
			want: `{"Hudu":{"b":1.50, "a":"<é>"},"NinjaOne":{"Enabled":true,"Instance":"eu.ninjarmm.com","Unknown":[1],"ClientID":"new"},"HaloPSA":null}`, stored: 1},
		{name: "names in other cases are the same", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"ninjaone":{"ClientId":"old","enabled":false}}`)}, check: accept,
			want: `{"NinjaOne":{"ClientID":"new","Enabled":true}}`, stored: 1},
		{name: "of several parts the last counts", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"NinjaOne":{"Instance":"a"},"NinjaOne":{"Instance":"b"}}`)}, check: accept,
			want: `{"NinjaOne":{"Instance":"b","Enabled":true,"ClientID":"new"}}`, stored: 1},
		{name: "a part that is not an object", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"NinjaOne":"x"}`)}, check: accept,
			want: `{"NinjaOne":{"Enabled":true,"ClientID":"new"}}`, stored: 1},
		{name: "a row of another name is read, and the usual one written", rows: []storage.Entity{row("Other", "Row", "config", `{"Hudu":{"a":1}}`)}, check: accept,
			want: `{"Hudu":{"a":1},"NinjaOne":{"Enabled":true,"ClientID":"new"}}`, stored: 2},
		{name: "settings that cannot be read are not written over", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"Hudu":`)}, check: accept,
			want: `{"Hudu":`, err: "not a JSON object", stored: 1},
		{name: "refused", rows: []storage.Entity{row(extensionPartition, extensionRowKey, "config", `{"Hudu":1}`)},
			check: func(c ExtensionConfig) error {
				if !c.Enabled || c.ClientID != "new" {
					return errors.New("the change is not shown")
				}
				return refuse
			}, want: `{"Hudu":1}`, err: "refused", stored: 1},
		{name: "split over columns and rows", rows: nil, check: accept, stored: 2,
			want: `{"Big":"` + strings.Repeat("x", 600_000) + `","NinjaOne":{"Enabled":true,"ClientID":"new"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			if tt.rows != nil {
				s.seed(t, tableExtensionsConfig, tt.rows...)
			}
			if strings.HasPrefix(tt.name, "split") {
				must(t, s.put(t.Context(), tableExtensionsConfig, row(extensionPartition, extensionRowKey, "config", `{"Big":"`+strings.Repeat("x", 600_000)+`"}`), ""))
			}
			err := s.SaveNinjaOneSettings(t.Context(), changes, tt.check)
			if tt.err == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error is %v, want %q", err, tt.err)
			}
			if got := s.config(t); got != tt.want {
				t.Errorf("stored %.300s, want %.300s", got, tt.want)
			}
			rows := s.all(t, tableExtensionsConfig)
			if len(rows) != tt.stored {
				t.Errorf("%d rows", len(rows))
			}
			if strings.HasPrefix(tt.name, "others") && rows[0].Int("Other") != 7 {
				t.Error("another column of the row is lost")
			}
		})
	}
}

// TestStoredSettingsThatPowerShellCannotRead saves into a row that CIPP would not
// be able to read afterwards either: nothing may be written over.
func TestStoredSettingsThatPowerShellCannotRead(t *testing.T) {
	for _, tt := range []struct{ name, config, err string }{
		{"an empty name", `{"NinjaOne":{"":1}}`, "empty name"},
		{"an empty name elsewhere", `{"Hudu":[{"a":{"":null}}]}`, "empty name"},
		{"names that differ in case", `{"NinjaOne":{"Enabled":true,"enabled":false}}`, "differ in upper and lower case"},
		{"extensions that differ in case", `{"ninjaone":{},"NinjaOne":{}}`, "differ in upper and lower case"},
		{"names that differ in case elsewhere", `{"Hudu":{"a":[{"É":1,"é":2}]}}`, "differ in upper and lower case"},
		{"nine levels", `{"Hudu":` + strings.Repeat(`[`, 8) + strings.Repeat(`]`, 8) + `}`, "more than 8 levels"},
		{"nine levels of objects", strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 9), "more than 8 levels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Deps{})
			s.seed(t, tableExtensionsConfig, row(extensionPartition, extensionRowKey, "config", tt.config))
			err := s.SaveNinjaOneSettings(t.Context(), []Property{property("Enabled", "true")}, accept)
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "nothing was saved") {
				t.Errorf("error is %v", err)
			}
			if got := s.config(t); got != tt.config {
				t.Errorf("stored is %s", got)
			}
		})
	}
	for _, fine := range []string{`{"a":1,"a":2}`, `{"a":{"b":1},"b":{"A":1}}`, `{"Hudu":` + strings.Repeat(`[`, 7) + strings.Repeat(`]`, 7) + `}`, `{"ß":1,"ss":2}`} {
		if err := CheckReadable([]byte(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

// TestConcurrentSaves has others change other extensions' settings by the same
// rule at the same time. Nothing may be lost.
func TestConcurrentSaves(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	s.seed(t, tableExtensionsConfig, row(extensionPartition, extensionRowKey, "config", `{"Hudu":{"Saves":0},"NinjaOne":{}}`))
	const writers, saves = 4, 5
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for n := range saves {
				if err := s.SaveNinjaOneSettings(ctx, []Property{property(fmt.Sprintf("P%d", i), fmt.Sprint(n+1))}, accept); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() {
		for done := 0; done < saves; {
			e, err := s.table(tableExtensionsConfig).Get(ctx, extensionPartition, extensionRowKey)
			if err != nil {
				t.Error(err)
				return
			}
			e["config"] = strings.Replace(e.String("config"), fmt.Sprintf(`"Saves":%d`, done), fmt.Sprintf(`"Saves":%d`, done+1), 1)
			switch err := s.table(tableExtensionsConfig).ReplaceIfMatch(ctx, e, e.ETag()); {
			case err == nil:
				done++
			case !errors.Is(err, storage.ErrConflict):
				t.Error(err)
				return
			}
		}
	})
	group.Wait()
	var got struct {
		Hudu     struct{ Saves int }
		NinjaOne map[string]int
	}
	must(t, json.Unmarshal([]byte(s.config(t)), &got))
	if got.Hudu.Saves != saves || len(got.NinjaOne) != writers {
		t.Errorf("stored %+v", got)
	}
	for name, n := range got.NinjaOne {
		if n != saves {
			t.Errorf("%s is %d", name, n)
		}
	}
}

func TestExtensionSettings(t *testing.T) {
	s, _ := newStore(t, Deps{})
	got, err := s.ExtensionSettings(t.Context())
	must(t, err)
	if toJSON(t, got) != "{}" {
		t.Errorf("without a row the settings are %v", got)
	}
	s.seed(t, tableExtensionsConfig, row(extensionPartition, extensionRowKey, "config", `{
		"NinjaOne":{"APIKey":{"value":"hunter2"},"clientid":"id","Instance":{"password":"hunter2"},"Enabled":true,"LicensedOnly":"true","CveSyncPrefix":7,"ResetPassword":false,
			"Pin":"hunter2","Alert":{"Url":"https://hooks.example/hunter2"},"Sas":"https://x.example/?sig=hunter2"},
		"Hudu":{"APIKey":"SentToKeyVault","BaseUrl":"https://user:hunter2@x.example","Enabled":true,"ImportDomains":false,"Number":1234},
		"X":{"List":[{"clientSecret":"hunter2"}],"accessToken":["hunter2"],"apikey":123,"Password":"","Connection":"AccountKey=hunter2","Nothing":null,
			"https://hooks.example/hunter2":true,"AccountKey=hunter2":null,"?sig=hunter2":"","hunter2hunter2hunter2hunter2hunter2hunter2":false},
		"https://user:hunter2@x.example":{"Enabled":true},"hunter2=":true,
		"APIKey":"hunter2","Webhook":"https://hooks.example/hunter2","Enabled":true}`))
	got, err = s.ExtensionSettings(t.Context())
	must(t, err)
	want := `{"APIKey":"SentToKeyVault","Enabled":true,"Hudu":{"APIKey":"SentToKeyVault","Enabled":true,"ImportDomains":false},` +
		`"NinjaOne":{"APIKey":"SentToKeyVault","CveSyncPrefix":7,"Enabled":true,"LicensedOnly":"true","ResetPassword":false,"clientid":"id"},` +
		`"X":{"Nothing":null,"Password":"","accessToken":"SentToKeyVault","apikey":"SentToKeyVault"}}`
	if toJSON(t, got) != want {
		t.Errorf("got %s", toJSON(t, got))
	}
	for _, text := range []string{"[]", "null", "{", "1"} {
		s.seed(t, tableExtensionsConfig, row(extensionPartition, extensionRowKey, "config", text))
		if got, err := s.ExtensionSettings(t.Context()); err == nil {
			t.Errorf("%s gave %v", text, got)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{"a":{"b":[1,2]},"A":null}`, `{"a":"\u00e9<"} `, `{"a":1}x`, `[]`, `{"a":`, "", `{"a" 1}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		properties, err := ParseObject([]byte(text))
		var want map[string]any
		valid := json.Unmarshal([]byte(text), &want) == nil && want != nil
		if (err == nil) != valid {
			t.Fatalf("error %v, but valid is %v", err, valid)
		}
		if err != nil {
			return
		}
		formatted := formatObject(properties)
		var got map[string]any
		if err := json.Unmarshal(formatted, &got); err != nil {
			t.Fatalf("%s: %v", formatted, err)
		}
		if toJSON(t, got) != toJSON(t, want) {
			t.Errorf("%s became %s", text, formatted)
		}
	})
}
