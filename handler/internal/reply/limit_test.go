package reply

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.text[e.at:])
		n, e.at = n+c, (e.at+c)%len(e.text)
	}
	return n, nil
}

// TestBombs has answers that grow for ever end at their bound.
func TestBombs(t *testing.T) {
	page := func(begin, again string) io.Reader {
		return io.MultiReader(strings.NewReader(begin), &endless{text: again})
	}
	for _, tt := range []struct {
		name   string
		limits Limits
		in     io.Reader
		most   int64 // bytes that are read of it
		want   string
	}{
		{"one string", Page, page(`{"value":[{"id":"`, "a"), 3 << 20, "a string of it is longer than 2 MiB"},
		{"one string of escapes", Page, page(`{"value":[{"id":"`, `\u0041\"`), 3 << 20, "a string of it is longer than 2 MiB"},
		{"a member's name", Page, page(`{"`, "a"), 3 << 20, "a string of it is longer than 2 MiB"},
		{"one number", Page, page(`{"value":[`, "1"), 5 << 20, "a record of it is larger than 4 MiB"},
		{"lists in lists", Page, page(`{"value":[`, "["), 1 << 20, "nested more than 64 deep"},
		{"objects in objects", Stream, page(`[`, `{"a":`), 1 << 20, "nested more than 64 deep"},
		{"space", Page, page(`{"value":[`, " \n"), 5 << 20, "a record of it is larger than 4 MiB"},
		{"space at first", Stream, page("", " "), 3 << 20, "a record of it is larger than 2 MiB"},
		{"one record", Page, page(`{"value":[{`, `"a":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",`), 5 << 20, "a record of it is larger than 4 MiB"},
		{"one record of a stream", Stream, page(`[{`, `"a":"b",`), 3 << 20, "a record of it is larger than 2 MiB"},
		{"records", Page, page(`{"value":[`, `{"id":"`+strings.Repeat("x", 4000)+`"},`), 33 << 20, "it is larger than 32 MiB"},
		{"tiny records", Page, page(`{"value":[`, `{},`), 1 << 20, "it has more than 20000 records"},
		{"members of the answer", Page, page(`{`, `"a":1,`), 1 << 20, "it has more than 20000 records"},
		{"members of a stream", Stream, page(`{"a":`, `1,"b":`), 2 << 20, "it has more than 200000 records"},
		{"tiny members", Page, page(`{"value":[{"members@delta":[`, `{"id":""},`), 9 << 20, "a record of it is larger than 4 MiB"},
		{"empty strings", Page, page(`{"value":[{"a":[`, `"",`), 9 << 20, "a record of it is larger than 4 MiB"},
		{"records of tiny members", Page, page(`{"value":[`, `{"a":[`+strings.Repeat(`{},`, 200_000)+`{}]},`), 3 << 20, "its values would take more than 96 MiB of memory"},
		{"tiny documents", Stream, page(`[`, `{"documentId":1},`), 5 << 20, "it has more than 200000 records"},
		{"an object that should be small", Object, page(`{`, `"a":"`+strings.Repeat("x", 1000)+`",`), 2 << 20, "larger than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counted := &countReader{in: tt.in}
			r := NewReader(t.Context(), counted, tt.limits)
			defer r.Close()
			_, err := io.Copy(io.Discard, r)
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if counted.n > tt.most {
				t.Errorf("%d bytes were read of it", counted.n)
			}
		})
	}
}

// TestStreamEnds: a list without pages ends at its bound, too.
func TestStreamEnds(t *testing.T) {
	r := NewReader(t.Context(), &endless{text: `{"id":1},`}, Stream)
	r.total = 1<<30 - 1000 // of records that came before
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "larger than 1024 MiB") || n > 64<<10 {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

type countReader struct {
	in io.Reader
	n  int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// TestHonestAnswers passes the largest answers that services really give.
func TestHonestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limits  Limits
		begin   string
		record  string
		records int
		end     string
	}{
		{"999 users", Page, `{"value":[`, `{"id":"1","phones":["1"],"licenses":[` + strings.Repeat(`{"sku":"x"},`, 30) + `{}],"mail":"` + strings.Repeat("m", 2000) + `"}`, 999, `]}`},
		{"a group of 10,000 members", Page, `{"value":[`, `{"members@delta":[` + strings.Repeat(`{"@odata.type":"#microsoft.graph.user","id":"a0000000-0000-4000-8000-000000000000"},`, 9_999) + `{}]}`, 3, `]}`},
		{"50,000 documents", Stream, `[`, `{"documentId":1,"fields":[{"name":"a","value":{"text":"t","html":"` + strings.Repeat("<p>x</p>", 50) + `"}}]}`, 50_000, `]`},
		{"the longest value", Stream, `[`, `{"html":"` + strings.Repeat("x", 2<<20-100) + `"}`, 20, `]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader(tt.begin+tt.record), io.LimitReader(&endless{text: "," + tt.record}, int64((tt.records-1)*(len(tt.record)+1))), strings.NewReader(tt.end))
			r := NewReader(t.Context(), in, tt.limits)
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneLargeAnswerAtATime has a second large answer wait for the first to be
// decoded, and a small one not.
func TestOneLargeAnswerAtATime(t *testing.T) {
	body := "[" + strings.Repeat(`{"a":"`+strings.Repeat("x", 1<<20)+`"},`, 10) + "{}]"
	read := func(ctx context.Context, body string) (*Reader, error) {
		r := NewReader(ctx, strings.NewReader(body), Page)
		_, err := io.Copy(io.Discard, r)
		return r, err
	}
	first, err := read(t.Context(), body)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for text, want := range map[string]error{`[{"a":1}]`: nil, body: context.Canceled} {
		r, err := read(ended, text)
		r.Close()
		if !errors.Is(err, want) {
			t.Errorf("beside a large answer, one of %d bytes: %v", len(text), err)
		}
	}
	first.Close()
	first.Close() // once is enough
	second, err := read(t.Context(), body)
	second.Close()
	if err != nil {
		t.Errorf("the second: %v", err)
	}
}

// FuzzReader holds that what passes is untouched, compressed or not, and that a
// decoder says the same of it as without the reader.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{`{"value":[{"id":"1"}]}`, `["\"]",{"a":[[]]}]`, "[", `"\`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = io.WriteString(w, in)
		_ = w.Close()
		unpacked, err := gzip.NewReader(&packed)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(t.Context(), unpacked, Limits{Bytes: 1 << 20, Record: 1 << 20})
		defer r.Close()
		out, err := io.ReadAll(r)
		if err == nil && string(out) != in {
			t.Errorf("%q became %q", in, out)
		}
		if err != nil && (!errors.Is(err, ErrTooLarge) || len(in) < maxDepth) {
			t.Errorf("%q: %v", in, err)
		}
	})
}

func TestSkip(t *testing.T) {
	for in, ok := range map[string]bool{`{"a":[1,{"b":null}]} 5`: true, `[] 5`: true, `"x" 5`: true, `7 5`: true, `{"a":`: false, ``: false} {
		dec := json.NewDecoder(strings.NewReader(in))
		err := Skip(dec)
		next, _ := dec.Token()
		if (err == nil) != ok || ok && fmt.Sprint(next) != "5" {
			t.Errorf("%s: %v, then %v", in, err, next)
		}
	}
}
