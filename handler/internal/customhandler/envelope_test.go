package customhandler

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"absent", ``, ""},
		{"null", `null`, ""},
		{"null encoded twice", `"null"`, ""},
		{"string encoded twice", `"\"hello\""`, "hello"},
		{"string encoded once", `"hello"`, "hello"},
		{"empty string encoded twice", `"\"\""`, ""},
		{"empty string encoded once", `""`, ""},
		{"JSON text encoded twice", `"\"{\\\"a\\\":\\\"b\\\"}\""`, `{"a":"b"}`},
		{"JSON text encoded once", `"{\"a\":\"b\"}"`, `{"a":"b"}`},
		{"JSON as an object", `{"a":"b"}`, `{"a":"b"}`},
		{"array", `[1,2]`, `[1,2]`},
		{"number", `3`, "3"},
		{"number in a string", `"3"`, "3"},
		{"number encoded as a string twice", `"\"3\""`, "3"},
		{"bool", `true`, "true"},
		{"base64 is left alone", `"eyJhIjoxfQ=="`, "eyJhIjoxfQ=="},
		{"base64 encoded twice is left alone", `"\"eyJhIjoxfQ==\""`, "eyJhIjoxfQ=="},
		{"quoted text in a message", `"\"\\\"quoted\\\"\""`, `"quoted"`},
		{"text that only begins with a quote", `"\"half"`, `"half`},
		{"line breaks and non-ASCII", `"\"Zoë\\r\\nÅsa\""`, "Zoë\r\nÅsa"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(json.RawMessage(tt.value)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDecodeQueue(t *testing.T) {
	const plain = `{"tenantId":"11111111-2222-4333-8444-555555555555"}`
	tests := []struct {
		name, body string
		want       QueueMessage
	}{
		{
			name: "as the host's source encodes it",
			body: `{"Data":{"message":"\"{\\\"tenantId\\\":\\\"11111111-2222-4333-8444-555555555555\\\"}\""},
				"Metadata":{"DequeueCount":"1","Id":"\"6a1c\"","InsertionTime":"2026-11-23T07:59:58+00:00","PopReceipt":"\"r\"","ExpirationTime":"2026-11-30T08:00:00+00:00",
				"sys":{"MethodName":"SyncTenant","UtcNow":"2026-11-23T08:00:00Z","RandGuid":"x"},"tenantId":"\"1111\""}}`,
			want: QueueMessage{Text: []byte(plain), DequeueCount: 1, Inserted: time.Date(2026, 11, 23, 7, 59, 58, 0, time.UTC)},
		},
		{
			name: "as the documentation shows it",
			body: `{"Data":{"queueItem":"{\"tenantId\":\"11111111-2222-4333-8444-555555555555\"}"},"Metadata":{"DequeueCount":2,"Id":"6a1c"}}`,
			want: QueueMessage{Text: []byte(plain), DequeueCount: 2},
		},
		{
			name: "message as a real object, count quoted twice",
			body: `{"Data":{"m":` + plain + `},"Metadata":{"DequeueCount":"\"3\"","Id":"\"6a1c\""}}`,
			want: QueueMessage{Text: []byte(plain), DequeueCount: 3},
		},
		{
			name: "without metadata",
			body: `{"Data":{"m":"\"hello\""}}`,
			want: QueueMessage{Text: []byte("hello")},
		},
		{
			name: "metadata is null",
			body: `{"Data":{"m":"\"hello\""},"Metadata":null}`,
			want: QueueMessage{Text: []byte("hello")},
		},
		{
			name: "metadata hidden by properties of the message",
			body: `{"Data":{"m":"\"hello\""},"Metadata":{"Id":{"not":"an id"},"DequeueCount":["x"]}}`,
			want: QueueMessage{Text: []byte("hello")},
		},
		{
			name: "metadata of the wrong type",
			body: `{"Data":{"m":"\"hello\""},"Metadata":[1]}`,
			want: QueueMessage{Text: []byte("hello")},
		},
		{
			name: "keys in lower case",
			body: `{"data":{"m":"\"hello\""},"metadata":{"dequeueCount":"4","id":"\"6a1c\""}}`,
			want: QueueMessage{Text: []byte("hello"), DequeueCount: 4},
		},
		{
			name: "null message",
			body: `{"Data":{"m":null},"Metadata":{}}`,
			want: QueueMessage{Text: []byte{}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := decodeEnvelope([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeQueue(e)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInstant(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 15, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		`"2026-11-23T08:15:00+00:00"`:        at,
		`"2026-11-23T10:15:00+02:00"`:        at,
		`"2026-11-23T08:15:00"`:              at,
		`"\"2026-11-23T08:15:00.0000000Z\""`: at,
		`"2026-11-23 08:15:00Z"`:             at,
		`"11/23/2026 10:15:00 +02:00"`:       at,
		`"11/23/2026 08:15:00"`:              at,
		`"0001-01-01T00:00:00+00:00"`:        {},
		`"soon"`:                             {},
		`7`:                                  {},
		`{}`:                                 {},
		``:                                   {},
	} {
		if got := instant(json.RawMessage(in)); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s gives %v", in, got)
		}
	}
}
