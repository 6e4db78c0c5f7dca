package storage

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEntityAccessors(t *testing.T) {
	at := time.Date(2026, 8, 1, 2, 45, 10, 120e6, time.UTC)
	e := Entity{
		"text": "17", "word": "abc", "guid": GUID("g"), "yes": true, "Yes": "True", "one": "1", "no": "False",
		"i": 5, "i32": int32(6), "i64": int64(7), "f": 8.0, "half": 8.5,
		"time": at.In(time.FixedZone("x", 3600)), "iso": "2026-08-01T02:45:10.120Z", "offset": "2026-08-01T04:45:10.12+02:00",
		"local": "2026-08-01T02:45:10.12", "spaced": "2026-08-01 02:45:10.12", "null": nil,
	}
	for name, want := range map[string]int64{"text": 17, "word": 0, "i": 5, "i32": 6, "i64": 7, "f": 8, "half": 0, "yes": 0, "absent": 0} {
		if got := e.Int(name); got != want {
			t.Errorf("Int(%s) is %d, want %d", name, got, want)
		}
	}
	for name, want := range map[string]bool{"yes": true, "Yes": true, "one": true, "no": false, "i32": true, "i64": true, "word": false, "absent": false} {
		if got := e.Bool(name); got != want {
			t.Errorf("Bool(%s) is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"time", "iso", "offset", "local", "spaced"} {
		if got := e.Time(name); !got.Equal(at) || got.Location() != time.UTC {
			t.Errorf("Time(%s) is %v, want %v", name, got, at)
		}
	}
	for _, name := range []string{"word", "i32", "absent"} {
		if got := e.Time(name); !got.IsZero() {
			t.Errorf("Time(%s) is %v, want zero", name, got)
		}
	}
	for name, want := range map[string]string{"text": "17", "guid": "g", "yes": "true", "i": "5", "i32": "6", "i64": "7", "f": "8", "half": "8.5", "time": "2026-08-01T02:45:10.12Z", "null": "", "absent": ""} {
		if got := e.String(name); got != want {
			t.Errorf("String(%s) is %q, want %q", name, got, want)
		}
	}
	if e.Has("null") || e.Has("absent") || !e.Has("no") {
		t.Error("Has does not tell a column from none")
	}
}

func TestEntityEncode(t *testing.T) {
	keys := func(e Entity) Entity {
		e["PartitionKey"], e["RowKey"] = "p", "it's"
		return e
	}
	at := time.Date(2026, 8, 1, 2, 45, 10, 120e6, time.UTC)
	got, err := keys(Entity{
		"s": "x", "b": false, "i": 1, "big": 1 << 40, "i32": int32(2), "i64": int64(3), "f": 4.0, "t": at, "bytes": []byte("a"), "g": GUID("u"),
		"null": nil, "zero": time.Time{}, "Timestamp": at, "odata.etag": "e",
	}).encode()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"PartitionKey": "p", "RowKey": "it's", "s": "x", "b": false, "i": 1.0, "i32": 2.0, "f": 4.0, "f@odata.type": "Edm.Double",
		"big": "1099511627776", "big@odata.type": "Edm.Int64", "i64": "3", "i64@odata.type": "Edm.Int64",
		"t": "2026-08-01T02:45:10.12Z", "t@odata.type": "Edm.DateTime", "bytes": "YQ==", "bytes@odata.type": "Edm.Binary", "g": "u", "g@odata.type": "Edm.Guid",
	}
	var decoded map[string]any
	if err := json.Unmarshal(got, &decoded); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, decoded); diff != "" {
		t.Error(diff)
	}

	for name, tt := range map[string]struct {
		e   Entity
		err string
	}{
		"no row key":       {Entity{"PartitionKey": "p"}, "no RowKey"},
		"no partition key": {Entity{"RowKey": "p"}, "no PartitionKey"},
		"empty row key":    {Entity{"PartitionKey": "p", "RowKey": ""}, "no RowKey"},
		"slash":            {Entity{"PartitionKey": "a/b", "RowKey": "r"}, "character"},
		"control":          {Entity{"PartitionKey": "a", "RowKey": "r\n"}, "character"},
		"long":             {Entity{"PartitionKey": "a", "RowKey": strings.Repeat("r", 513)}, "512"},
		"strange type":     {keys(Entity{"x": []string{"a"}}), "[]string"},
		"not a number":     {keys(Entity{"x": nan()}), "finite"},
	} {
		if _, err := tt.e.encode(); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, tt.err)
		}
	}
}

func nan() float64 { var zero float64; return zero / zero }

func TestDecodeEntity(t *testing.T) {
	got, err := decodeEntity([]byte(`{"odata.metadata":"m","odata.etag":"W/\"1\"","PartitionKey":"p","RowKey":"r","Timestamp":"2026-08-01T02:45:10.1234567Z",
		"absent":null,"i":3,"d":3.5,"D":3,"D@odata.type":"Edm.Double","S":"NaN","l":"9007199254740993","l@odata.type":"Edm.Int64","b":true,"bin":"YQ==","bin@odata.type":"Edm.Binary","g":"u","g@odata.type":"Edm.Guid"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Entity{
		"PartitionKey": "p", "RowKey": "r", "odata.etag": `W/"1"`, "Timestamp": time.Date(2026, 8, 1, 2, 45, 10, 123456700, time.UTC),
		"i": int32(3), "d": 3.5, "D": 3.0, "S": "NaN", "l": int64(9007199254740993), "b": true, "bin": []byte("a"), "g": GUID("u"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, broken := range []string{"", "[]", `{"l":"x","l@odata.type":"Edm.Int64"}`, `{"Timestamp":"yesterday"}`} {
		if e, err := decodeEntity([]byte(broken)); err == nil {
			t.Errorf("%q was read as %v", broken, e)
		}
	}
}

func FuzzEntityRoundTrip(f *testing.F) {
	f.Add("p", "text", int64(5), 1.5, true, int64(1))
	f.Add("it's", "\x00\ud7ff", int64(-1<<63), -2.0, false, int64(1<<40))
	f.Fuzz(func(t *testing.T, key, text string, i int64, d float64, b bool, seconds int64) {
		e := Entity{"PartitionKey": key, "RowKey": key, "s": strings.ToValidUTF8(text, "?"), "i": i, "d": d, "b": b, "t": time.Unix(seconds%(1<<36), 0).UTC()}
		data, err := e.encode()
		if err != nil {
			return // an unusable key or number
		}
		got, err := decodeEntity(data)
		if err != nil {
			t.Fatal(err)
		}
		if e["t"].(time.Time).IsZero() {
			delete(e, "t")
		}
		e["PartitionKey"], e["RowKey"] = strings.ToValidUTF8(key, "\ufffd"), strings.ToValidUTF8(key, "\ufffd")
		if diff := cmp.Diff(e, got); diff != "" && strings.ToValidUTF8(key, "") == key {
			t.Error(diff)
		}
	})
}

func FuzzDecodeEntity(f *testing.F) {
	f.Add(`{"PartitionKey":"p","a":1e400,"b@odata.type":7,"b":{}}`)
	f.Add(`{"t":5,"t@odata.type":"Edm.DateTime","odata.etag":1}`)
	f.Fuzz(func(t *testing.T, s string) {
		e, err := decodeEntity([]byte(s))
		if err == nil && e == nil {
			t.Error("neither a row nor an error")
		}
		for name := range e {
			_, _, _, _ = e.String(name), e.Int(name), e.Bool(name), e.Time(name)
		}
	})
}
