package netfault

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Real connections that break give words, and remain the error that they were.
func TestExplainsBrokenConnections(t *testing.T) {
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	reset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = connection.(*net.TCPConn).SetLinger(0)
		_ = connection.Close()
	}))
	defer reset.Close()
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer half.Close()
	for name, tt := range map[string]struct{ address, want string }{
		"closed":  {cut.URL, "the connection was closed without an answer"},
		"reset":   {reset.URL, "the connection was closed without an answer"},
		"half":    {half.URL, "the connection was closed in the middle of the answer"},
		"refused": {"http://127.0.0.1:1", "the connection was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := http.Post(tt.address, "application/json", strings.NewReader("{}"))
			if err == nil {
				_, err = io.ReadAll(response.Body)
				_ = response.Body.Close()
			}
			if err == nil {
				t.Fatal("the request succeeded")
			}
			got := Explain(err)
			if got.Error() != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if !errors.Is(got, errors.Unwrap(err)) && !errors.Is(got, err) {
				t.Error("it is not the same error any more")
			}
		})
	}
}

func TestExplainsNames(t *testing.T) {
	err := &url.Error{Op: "Get", URL: "https://eu.ninja.example/?secret", Err: &net.DNSError{Err: "no such host", Name: "eu.ninja.example", IsNotFound: true}}
	if got := Explain(err).Error(); got != "the host eu.ninja.example does not exist, or its name could not be looked up" {
		t.Errorf("%q", got)
	}
}

func TestLeavesOtherErrorsAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("x509: certificate has expired"), errors.New("no complete answer within 30s")} {
		if got := Explain(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
		if got := Explain(&url.Error{Op: "Get", URL: "https://eu.ninja.example/?secret", Err: err}); got != err {
			t.Errorf("%v became %v with a URL", err, got)
		}
	}
}
