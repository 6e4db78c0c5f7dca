package funchost

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// jsonTime is the form in which Json.NET writes a date in UTC.
const jsonTime = "2006-01-02T15:04:05.9999999-07:00"

// value is one entry of an envelope's Data or Metadata. The host sends a jsonObject as an
// object and a time.Time as a date. It sends everything else as JSON text inside a JSON
// string.
type value any

// jsonObject is a value that the host sends as a real JSON object.
type jsonObject map[string]any

// encoder writes envelopes.
type encoder struct {
	// single selects the form that Microsoft's documentation shows. It does not wrap
	// strings and numbers in JSON text a second time.
	single bool
}

// envelope writes the body of an invocation request.
func (e encoder) envelope(data, metadata map[string]value) ([]byte, error) {
	encode := func(values map[string]value) (map[string]json.RawMessage, error) {
		out := make(map[string]json.RawMessage, len(values))
		for name, v := range values {
			raw, err := e.value(v)
			if err != nil {
				return nil, fmt.Errorf("encoding %q: %w", name, err)
			}
			out[name] = raw
		}
		return out, nil
	}
	encodedData, err := encode(data)
	if err != nil {
		return nil, err
	}
	encodedMetadata, err := encode(metadata)
	if err != nil {
		return nil, err
	}
	return compact(struct{ Data, Metadata map[string]json.RawMessage }{encodedData, encodedMetadata})
}

func (e encoder) value(v value) (json.RawMessage, error) {
	switch v := v.(type) {
	case jsonObject:
		return compact(v)
	case time.Time:
		return compact(v.UTC().Truncate(time.Second).Format(jsonTime))
	}
	text, err := compact(v)
	if err != nil || e.single {
		return text, err
	}
	return compact(string(text))
}

// compact marshals without the escaping of <, > and & that the host does not do.
func compact(v any) (json.RawMessage, error) {
	var buffer bytes.Buffer
	enc := json.NewEncoder(&buffer)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buffer.Bytes(), "\n"), nil
}

// metadata is an invocation's Metadata. A later value replaces an earlier one whose name
// differs only in case, under the earlier name. It drops names that end in "trigger".
type metadata map[string]value

func (m metadata) set(name string, v value) {
	if strings.HasSuffix(strings.ToLower(name), "trigger") {
		return
	}
	for known := range m {
		if strings.EqualFold(known, name) {
			name = known
			break
		}
	}
	m[name] = v
}

// newMetadata starts the metadata of every invocation: the object sys.
func newMetadata(function string) metadata {
	return metadata{"sys": jsonObject{
		"MethodName": function,
		"UtcNow":     time.Now().UTC().Format(jsonTime),
		"RandGuid":   uuid.NewString(),
	}}
}

// merge adds the top-level properties of a text that is a JSON object, but not
// its arrays and nulls. Objects stay objects; all else becomes text, as .NET
// writes it.
func (m metadata) merge(text string) {
	if trimmed := strings.TrimSpace(text); !strings.HasPrefix(trimmed, "{") || !strings.HasSuffix(trimmed, "}") {
		return
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return // The host takes no offence at text that only looks like JSON.
	}
	for name, v := range object {
		switch v := v.(type) {
		case map[string]any:
			m.set(name, jsonObject(v))
		case string:
			m.set(name, plainText(v))
		case json.Number:
			m.set(name, numberText(v.String()))
		case bool:
			text := strconv.FormatBool(v)
			m.set(name, strings.ToUpper(text[:1])+text[1:])
		}
	}
}

// isoTime tells the texts that Json.NET takes for a time: a date alone is none.
var isoTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$`)

// plainText is a text of a message in the metadata. A time becomes one in the
// invariant culture, without its fraction.
func plainText(s string) string {
	if !isoTime.MatchString(s) {
		return s
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05", s); err != nil {
			return s
		}
	}
	return t.UTC().Format("01/02/2006 15:04:05")
}

// numberText is a number of a message in the metadata. Whole ones stay as they
// are; others are written as .NET writes a double.
func numberText(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !strings.ContainsAny(s, ".eE") {
		return s
	}
	if size := math.Abs(f); f == 0 || size >= 1e-5 && size < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'E', -1, 64)
}

// answer is what the handler returned for one envelope.
type answer struct {
	Outputs map[string]json.RawMessage
	Logs    logLines
}

// logLines are the lines of an answer's Logs.
type logLines []string

// UnmarshalJSON takes a list of anything but objects and lists.
func (l *logLines) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("the property Logs is not a list")
	}
	for _, raw := range list {
		if raw[0] == '{' || raw[0] == '[' {
			return errors.New("the property Logs holds something else than texts")
		}
		line := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &line); err != nil {
				return err
			}
		}
		*l = append(*l, line)
	}
	return nil
}

// errNoAnswer marks an empty or null body. The host never completes such an
// invocation; it hangs until functionTimeout.
var errNoAnswer = errors.New("the handler answered with an empty or null body, for which the host waits until functionTimeout; answer {} instead")

// parseAnswer checks an answer as the host does.
func parseAnswer(res *http.Response, body []byte) (answer, error) {
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return answer{}, fmt.Errorf("the handler answered with status %d", res.StatusCode)
	}
	if len(body) == 0 {
		return answer{}, errNoAnswer
	}
	media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && media != "text/json" {
		return answer{}, fmt.Errorf("the handler answered with the content type %q, which is not JSON; set application/json", res.Header.Get("Content-Type"))
	}
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 || string(trimmed) == "null" {
		return answer{}, errNoAnswer
	}
	if trimmed[0] != '{' {
		return answer{}, errors.New("the handler's answer is JSON, but not an object with Outputs, Logs and ReturnValue")
	}
	var a answer
	if err := json.Unmarshal(trimmed, &a); err != nil {
		return answer{}, fmt.Errorf("the handler's answer cannot be read (Outputs must be an object, Logs an array of strings): %w", err)
	}
	return a, nil
}

// decodeBase64 decodes as .NET does, which passes over white space.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "").Replace(s)) // Go passes over line ends.
}
