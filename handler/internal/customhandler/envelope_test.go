package customhandler

import (
	"encoding/json"
	"errors"
	"strings"
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
			want: QueueMessage{Text: []byte(plain), ID: "6a1c", DequeueCount: 1, Inserted: time.Date(2026, 11, 23, 7, 59, 58, 0, time.UTC)},
		},
		{
			name: "as the documentation shows it",
			body: `{"Data":{"queueItem":"{\"tenantId\":\"11111111-2222-4333-8444-555555555555\"}"},"Metadata":{"DequeueCount":2,"Id":"6a1c"}}`,
			want: QueueMessage{Text: []byte(plain), ID: "6a1c", DequeueCount: 2},
		},
		{
			name: "message as a real object, count quoted twice",
			body: `{"Data":{"m":` + plain + `},"Metadata":{"DequeueCount":"\"3\"","Id":"\"6a1c\""}}`,
			want: QueueMessage{Text: []byte(plain), ID: "6a1c", DequeueCount: 3},
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
			want: QueueMessage{Text: []byte("hello"), ID: "6a1c", DequeueCount: 4},
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
			tt.want.InvocationID = "inv"
			got, err := decodeQueue(e, "inv")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeTimer(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 11, 23, h, 15, 0, 0, time.UTC) }
	full := TimerInfo{IsPastDue: true, Last: at(8), Next: at(9), LastUpdated: at(8)}
	tests := []struct {
		name, body string
		want       TimerInfo
	}{
		{
			name: "as the host sends it",
			body: `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"2026-11-23T08:15:00+00:00","Next":"2026-11-23T09:15:00+00:00","LastUpdated":"2026-11-23T08:15:00+00:00"},"IsPastDue":true}},"Metadata":{"sys":{}}}`,
			want: full,
		},
		{
			name: "values as strings, times with offset, zone-less and with fraction",
			body: `{"Data":{"timer":{"ScheduleStatus":{"Last":"2026-11-23T10:15:00+02:00","Next":"2026-11-23T09:15:00","LastUpdated":"\"2026-11-23T08:15:00.0000000Z\""},"IsPastDue":"True"}}}`,
			want: full,
		},
		{
			name: "the whole object in a string",
			body: `{"Data":{"timer":"{\"IsPastDue\":true}"}}`,
			want: TimerInfo{IsPastDue: true},
		},
		{
			name: "the whole object in a string, encoded twice",
			body: `{"Data":{"timer":"\"{\\\"IsPastDue\\\":true}\""}}`,
			want: TimerInfo{IsPastDue: true},
		},
		{
			name: "keys in lower case",
			body: `{"Data":{"timer":{"isPastDue":true,"scheduleStatus":{"next":"2026-11-23T09:15:00Z"}}}}`,
			want: TimerInfo{IsPastDue: true, Next: at(9)},
		},
		{
			name: "not monitored",
			body: `{"Data":{"timer":{"Schedule":{},"ScheduleStatus":null,"IsPastDue":false}}}`,
		},
		{
			name: "before the first run",
			body: `{"Data":{"timer":{"ScheduleStatus":{"Last":"0001-01-01T00:00:00","Next":"2026-11-23T09:15:00Z","LastUpdated":"0001-01-01T00:00:00+00:00"},"IsPastDue":false}}}`,
			want: TimerInfo{Next: at(9)},
		},
		{name: "unreadable times", body: `{"Data":{"timer":{"ScheduleStatus":{"Last":"soon","Next":7,"LastUpdated":{}}}}}`},
		{name: "no object", body: `{"Data":{"timer":"\"tick\""}}`},
		{name: "no data", body: `{"Metadata":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := decodeEnvelope([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, decodeTimer(e, "")); diff != "" {
				t.Errorf("timer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessageDecode(t *testing.T) {
	type payload struct {
		TenantID string `json:"tenantId"`
		Force    bool   `json:"force"`
	}
	tests := []struct {
		name, text string
		want       payload
		problem    string
	}{
		{name: "object", text: `{"tenantId":"a","force":true}`, want: payload{"a", true}},
		{name: "unknown properties", text: `{"tenantId":"a","more":1}`, want: payload{"a", false}},
		{name: "object in a string", text: `"{\"tenantId\":\"a\"}"`, want: payload{"a", false}},
		{name: "blanks around", text: "\n {\"tenantId\":\"a\"} ", want: payload{"a", false}},
		{name: "empty", text: "  ", problem: "it is empty"},
		{name: "null", text: "null", problem: "it is empty"},
		{name: "no JSON", text: "tenant four-two", problem: "it is not JSON (at byte"},
		{name: "cut off", text: `{"tenantId":"a`, problem: "it is not JSON (at byte"},
		{name: "wrong type", text: `{"tenantId":42}`, problem: "its property tenantId has the wrong type"},
		{name: "array", text: `["a"]`, problem: "it is not a JSON object"},
		{name: "string", text: `"four-two"`, problem: "it is not a JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got payload
			err := QueueMessage{Text: []byte(tt.text)}.Decode(&got)
			if tt.problem == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
				}
				return
			}
			var bad *BadMessageError
			if !errors.As(err, &bad) || !strings.Contains(bad.Reason, tt.problem) {
				t.Errorf("got %v, want a bad message: %s", err, tt.problem)
			}
			if err != nil && strings.Contains(err.Error(), "four-two") {
				t.Errorf("the error quotes the message: %v", err)
			}
		})
	}
}
