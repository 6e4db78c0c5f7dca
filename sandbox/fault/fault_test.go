package fault_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"cipp-ninjaone/sandbox/fault"
)

// trouble is a fault of a double that can hang and reset, for one header.
type trouble struct {
	header     string
	hang, some bool
}

// double is a service that answers 200, or by its faults.
type double struct {
	fault.Injector[trouble]
	*httptest.Server
}

func newDouble(t *testing.T) *double {
	d := &double{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met := d.Meet(r, func(f *trouble) bool { return f.header == "" || r.Header.Get(f.header) != "" })
		switch {
		case met == nil:
		case met.Fault.hang:
			met.Hang(r)
			fault.Reset(w)
		case met.Fault.some:
			w.WriteHeader(http.StatusTeapot)
		default:
			fault.Reset(w)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *double) ask(t *testing.T, method, path string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Here", "1")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestWhichRequestsAreHit(t *testing.T) {
	some := trouble{some: true}
	for name, tt := range map[string]struct {
		fault trouble
		rule  fault.Rule
		want  []int // of four requests
	}{
		"all":            {some, fault.Rule{}, []int{418, 418, 418, 418}},
		"a few":          {some, fault.Rule{Skip: 1, Count: 2}, []int{200, 418, 418, 200}},
		"method, path":   {some, fault.Rule{Method: "GET", Path: regexp.MustCompile("^/a$")}, []int{418, 418, 418, 418}},
		"another method": {some, fault.Rule{Method: "POST"}, []int{200, 200, 200, 200}},
		"another path":   {some, fault.Rule{Path: regexp.MustCompile("^/b$")}, []int{200, 200, 200, 200}},
		"its own":        {trouble{some: true, header: "X-Here"}, fault.Rule{Count: 1}, []int{418, 200, 200, 200}},
		"not its own":    {trouble{some: true, header: "X-There"}, fault.Rule{}, []int{200, 200, 200, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			d, hits, wanted := newDouble(t), 0, 0
			tt.rule.OnHit = func() { hits++ }
			remove := d.Add(tt.fault, tt.rule)
			var got []int
			for _, want := range tt.want {
				status, _ := d.ask(t, "GET", "/a")
				got = append(got, status)
				if want == 418 {
					wanted++
				}
			}
			if !slices.Equal(got, tt.want) || hits != wanted {
				t.Errorf("answered %v, want %v; %d hits", got, tt.want, hits)
			}
			if remove(); !d.Idle() {
				t.Error("the fault was not taken away")
			}
		})
	}
}

func TestResetAndHang(t *testing.T) {
	d := newDouble(t)
	d.Add(trouble{}, fault.Rule{Count: 1})
	if _, err := d.ask(t, "POST", "/"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset is %v", err)
	}
	for name, end := range map[string]func(remove func()){"removed": func(remove func()) { remove() }, "cleared": func(func()) { d.Clear() }} {
		hit := make(chan struct{})
		remove := d.Add(trouble{hang: true}, fault.Rule{OnHit: func() { close(hit) }})
		go func() {
			<-hit
			end(remove)
		}()
		if status, err := d.ask(t, "POST", "/"); err == nil {
			t.Errorf("%s: a request that hangs was answered %d", name, status)
		}
		if status, err := d.ask(t, "GET", "/"); status != 200 || err != nil {
			t.Errorf("%s: after the fault %d, %v", name, status, err)
		}
	}
}
