package ninjaone

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

func TestValueJSON(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    Value
		want string
	}{
		{"html", HTML(`<p class="x">A & B</p>`), `{"html":"<p class=\"x\">A & B</p>"}`},
		{"empty html", HTML(""), `{"html":""}`},
		{"text", Text("<Compliant> é"), `"<Compliant> é"`},
		{"clear", Clear(), `null`},
		{"zero", Value{}, `null`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := encodeJSON(Fields{"f": tt.v})
			if want := `{"f":` + tt.want + `}`; err != nil || string(got) != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
	if one, two := HTML("a"), HTML("a"); one != two || one == Text("a") || !Clear().IsClear() || Text("").IsClear() {
		t.Error("values do not compare as they should")
	}
}

var jsonLengthSeeds = []string{"", "plain", `"quoted" \ `, "line\nbreak\ttab\r\b\f\x00\x1f\x7f", "<a href='x'>&amp;</a>", "é€😀", "\u2028\u2029", "bad \xff\xfe utf-8", "\ufffd"}

func FuzzJSONLength(f *testing.F) {
	for _, s := range jsonLengthSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded, err := encodeJSON(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := JSONLength(s), len(utf16.Encode([]rune(string(encoded))))-2; got != want {
			t.Errorf("JSONLength(%q) = %d, want %d", s, got, want)
		}
		if got, err := Text(s).MarshalJSON(); err != nil || string(got) != string(encoded) {
			t.Errorf("%q is sent as %s, want %s", s, got, encoded)
		}
	})
}

// fieldServer refuses writes that hold certain fields, whole.
type fieldServer struct {
	t       *testing.T
	refuse  map[string]func(http.ResponseWriter)
	mu      sync.Mutex
	written map[string]string // accepted
	calls   [][]string        // names of the fields of each call
}

func (s *fieldServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodPatch || r.URL.Path != "/v2/device/7/custom-fields" && r.URL.Path != "/v2/organization/42/custom-fields" {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		s.t.Errorf("content type %q", got)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		s.t.Error(err)
	}
	names := slices.Sorted(maps.Keys(fields))
	s.calls = append(s.calls, names)
	for _, name := range names {
		if refuse := s.refuse[name]; refuse != nil {
			refuse(w)
			return
		}
	}
	for name, v := range fields {
		s.written[name] = string(v)
	}
	w.WriteHeader(http.StatusNoContent)
}

func refusal(code int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { answer(w, code, body) }
}

func TestUpdateFields(t *testing.T) {
	invalid := refusal(400, `{"errorMessage":{"code":"invalid_value","params":{}}}`)
	forbidden := refusal(403, `{"resultCode":"FAILURE","errorMessage":"no permission"}`)
	three := Fields{"links": HTML("<p>a</p>"), "summary": HTML("<p>b</p>"), "compliance": Text("Compliant")}
	for _, tt := range []struct {
		name    string
		fields  Fields
		refuse  map[string]func(http.ResponseWriter)
		refused []string // names in the RefusedError
		is      error    // another error
		status  int      // of another error
		calls   int
		written []string
	}{
		{name: "accepted", fields: three, calls: 1, written: []string{"compliance", "links", "summary"}},
		{name: "cleared", fields: Fields{"compliance": Clear()}, calls: 1, written: []string{"compliance"}},
		{name: "nothing to write", fields: Fields{}, calls: 0},
		{name: "one refused by 400", fields: three, refuse: map[string]func(http.ResponseWriter){"links": invalid},
			refused: []string{"links"}, calls: 4, written: []string{"compliance", "summary"}},
		{name: "one refused by 403", fields: three, refuse: map[string]func(http.ResponseWriter){"summary": forbidden},
			refused: []string{"summary"}, calls: 4, written: []string{"compliance", "links"}},
		{name: "one refused by 413 of a gateway", fields: three, refuse: map[string]func(http.ResponseWriter){"summary": func(w http.ResponseWriter) { page(w, 413, "<html>Entity too large</html>") }},
			refused: []string{"summary"}, calls: 4, written: []string{"compliance", "links"}},
		{name: "one refused by 422", fields: three, refuse: map[string]func(http.ResponseWriter){"summary": refusal(422, `{}`)},
			refused: []string{"summary"}, calls: 4, written: []string{"compliance", "links"}},
		{name: "one refused by a 500 with a result code", fields: three, refuse: map[string]func(http.ResponseWriter){"summary": refusal(500, `{"resultCode":"FAILURE","errorMessage":"NullPointerException"}`)},
			refused: []string{"summary"}, calls: 4, written: []string{"compliance", "links"}},
		{name: "all invalid", fields: Fields{"a": Text("1"), "b": Text("2")}, refuse: map[string]func(http.ResponseWriter){"a": invalid, "b": invalid},
			refused: []string{"a", "b"}, calls: 3},
		{name: "the only one invalid", fields: Fields{"a": Text("1")}, refuse: map[string]func(http.ResponseWriter){"a": invalid},
			refused: []string{"a"}, calls: 1},
		{name: "all forbidden", fields: Fields{"a": Text("1"), "b": Text("2")}, refuse: map[string]func(http.ResponseWriter){"a": forbidden, "b": forbidden},
			is: ErrForbidden, status: 403, calls: 3},
		{name: "target gone", fields: three, refuse: map[string]func(http.ResponseWriter){"compliance": refusal(404, `{"resultCode":"ENTITY_NOT_FOUND"}`)},
			is: ErrNotFound, status: 404, calls: 1},
		{name: "our own defect", fields: three, refuse: map[string]func(http.ResponseWriter){"compliance": refusal(400, `{"error":"invalid_header"}`)},
			is: ErrMalformedAuth, status: 400, calls: 1},
		{name: "server down", fields: three, refuse: map[string]func(http.ResponseWriter){"compliance": refusal(502, ``)},
			is: errAny, status: 502, calls: maxFailed},
		{name: "throttled page with 403", fields: three, refuse: map[string]func(http.ResponseWriter){"compliance": func(w http.ResponseWriter) { page(w, 403, "<html>too many requests</html>") }},
			is: ErrThrottled, status: 403, calls: maxThrottled},
		{name: "too long to send", fields: Fields{"long": Text(strings.Repeat("x", MaxText+1)), "html": HTML(strings.Repeat("\"", MaxHTML/2+1)), "fits": Text(strings.Repeat("x", MaxText)), "wide": HTML(strings.Repeat("é", MaxHTML))},
			refused: []string{"html", "long"}, calls: 1, written: []string{"fits", "wide"}},
		{name: "nothing left to send", fields: Fields{"long": Text(strings.Repeat("x", MaxText+1))}, refused: []string{"long"}, calls: 0},
		{name: "too long and refused", fields: Fields{"long": Text(strings.Repeat("x", MaxText+1)), "bad": Text("x"), "good": Text("y")},
			refuse: map[string]func(http.ResponseWriter){"bad": invalid}, refused: []string{"bad", "long"}, calls: 3, written: []string{"good"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				s := &fieldServer{t: t, refuse: tt.refuse, written: map[string]string{}}
				err := inProcess(t, newFake(t, s.serve)).UpdateDeviceFields(t.Context(), 7, tt.fields, false)
				if len(s.calls) != tt.calls {
					t.Errorf("calls %v, want %d", s.calls, tt.calls)
				}
				if got := slices.Sorted(maps.Keys(s.written)); !slices.Equal(got, tt.written) {
					t.Errorf("written %v, want %v", got, tt.written)
				}
				var refused *RefusedError
				var e *APIError
				switch {
				case tt.refused != nil:
					if !errors.As(err, &refused) || !slices.Equal(slices.Sorted(maps.Keys(refused.Refused)), tt.refused) {
						t.Fatalf("got %v, want %v refused", err, tt.refused)
					}
					for _, name := range tt.refused {
						if refused.Refused[name] == nil || !strings.Contains(err.Error(), `field "`+name+`" refused: `) {
							t.Errorf("%q does not explain field %s", err, name)
						}
					}
				case tt.is != nil:
					if !errors.As(err, &e) || errors.As(err, &refused) || e.Status != tt.status || tt.is != errAny && !errors.Is(err, tt.is) {
						t.Fatalf("got %v, want %v", err, tt.is)
					}
				case err != nil:
					t.Fatal(err)
				}
			})
		})
	}
}

func TestIsolationStopsWhenItIsNotAboutFields(t *testing.T) {
	simulate(t, func(t *testing.T) {
		s := &fieldServer{t: t, written: map[string]string{}, refuse: map[string]func(http.ResponseWriter){
			"a": refusal(400, `{}`),
			"b": refusal(404, `{}`),
		}}
		err := inProcess(t, newFake(t, s.serve)).UpdateDeviceFields(t.Context(), 7, Fields{"a": Text("1"), "b": Text("2"), "c": Text("3")}, false)
		var refused *RefusedError
		if !errors.Is(err, ErrNotFound) || errors.As(err, &refused) || len(s.calls) != 3 {
			t.Errorf("got %v after %v", err, s.calls)
		}
	})
}

func TestRefusedTokenIsNotARefusedField(t *testing.T) {
	fake := newFake(t, nil)
	fake.onToken = func(w http.ResponseWriter, r *http.Request) { answer(w, 400, `{"error":"invalid_request"}`) }
	err := serve(t, fake).UpdateDeviceFields(t.Context(), 7, Fields{"a": Text("1")}, false)
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

// TestFieldsLeft ends the singling out of refused fields in the middle: what was
// found stays found, and the others go alone the next time.
func TestFieldsLeft(t *testing.T) {
	simulate(t, func(t *testing.T) {
		invalid := refusal(400, `{"errorMessage":{"code":"invalid_value","params":{}}}`)
		s := &fieldServer{t: t, written: map[string]string{}, refuse: map[string]func(http.ResponseWriter){
			"b": invalid,
		}}
		c := inProcess(t, newFake(t, s.serve))
		fields := Fields{"a": Text("1"), "b": Text("2"), "c": Text("3"), "d": Text("4")}
		if err := c.UpdateDeviceFields(t.Context(), 7, fields, true); !errors.As(err, new(*RefusedError)) || len(s.calls) != 4 || len(s.written) != 3 {
			t.Errorf("%v after %v", err, s.calls)
		}
		s.refuse["c"] = func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7200"); answer(w, 429, `{}`) }
		var found *RefusedError
		err := c.UpdateDeviceFields(t.Context(), 7, fields, true)
		if !errors.As(err, &found) || !errors.Is(err, ErrThrottled) || errors.Is(err, ErrNotSent) ||
			found.Refused["b"] == nil || len(found.Refused) != 1 || !maps.Equal(found.Left, map[string]bool{"c": true, "d": true}) {
			t.Errorf("got %v, left %v", err, found)
		}
	})
}
