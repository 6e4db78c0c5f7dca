package reply

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// drops hands on a few bytes at a time, as a service may send them.
type drops struct{ in io.Reader }

func (d drops) Read(p []byte) (int, error) { return d.in.Read(p[:min(len(p), 16)]) }

// readings counts how often it is read from.
type readings struct {
	in io.Reader
	n  int
}

func (r *readings) Read(p []byte) (int, error) {
	r.n++
	return r.in.Read(p)
}

// TestBlanksInDrops: the decoder looks through all blanks again after each read,
// so that a service that sent megabytes of them in drops would cost minutes.
func TestBlanksInDrops(t *testing.T) {
	blanks := strings.Repeat(" ", 3<<20)
	for name, text := range map[string]string{
		"before the answer": blanks + `{"value":[]}`,
		"before a record":   `{"value":[` + blanks + `{"id":"1"}]}`,
		"after a name":      `{"value":` + blanks + `[]}`,
		"within a record":   `{"value":[{"id":` + blanks + `"1"}]}`,
		"at the end":        `{"value":[]` + blanks + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			in := NewReader(t.Context(), drops{strings.NewReader(text)}, Page)
			defer in.Close()
			count := &readings{in: in}
			dec := json.NewDecoder(count)
			for {
				if _, err := dec.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if count.n > 64 {
				t.Errorf("the decoder read %d times", count.n)
			}
		})
	}
}
