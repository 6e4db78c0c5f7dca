// Package storageproxy stands between the handler and the storage emulator and lets
// chosen requests go wrong. The emulator itself cannot. A service is busy, down,
// forbidden, out of reach, or never answers.
//
// Only storage's protocol belongs here: no table, queue or blob of the handler
// is known by name.
package storageproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/fault"
	"cipp-ninjaone/sandbox/loopback"
)

// The services of a storage account, as Fault.Service names them.
const (
	Blob  = "blob"
	Queue = "queue"
	Table = "table"
)

// maxBody is the largest request body that is looked at, in bytes.
const maxBody = 16 << 20

// Fault lets the requests go wrong that it chooses. Exactly one of Status,
// Reset and Hang says how; with none of them they are only counted.
type Fault struct {
	Service string         // Blob, Queue or Table; "" = any
	Method  string         // "" = any
	Path    *regexp.Regexp // matched against the path, unescaped; nil = any
	// Holds must all be in the unescaped path and query, or in the body, of a
	// request.
	Holds []string
	// Skip lets that many such requests pass first. Count is how many are then
	// hit; 0 = all.
	Skip, Count int

	Status int    // answered with storage's error document
	Code   string // storage's error code with Status, such as ServerBusy
	Reset  bool   // the connection is cut without an answer
	Hang   bool   // no answer until the client gives up, or the fault is taken away and the connection is cut
	// AfterHandling carries the request out first, and loses its answer.
	AfterHandling bool

	// OnHit hears of every request that the fault hits, before its answer.
	OnHit func()
}

// Proxy is a running proxy of the three services.
type Proxy struct {
	servers   []*http.Server
	endpoints map[string]string // by service
	storage   string            // the connection string without a proxy
	around    atomic.Pointer[func(service string, next http.Handler) http.Handler]

	faults fault.Injector[Fault]
}

// Start starts a proxy in front of a storage account's three endpoints, each
// on a loopback address of its own.
func Start(storage *azurite.Azurite) (*Proxy, error) {
	p := &Proxy{endpoints: map[string]string{}, storage: storage.ConnectionString()}
	for service, endpoint := range map[string]string{Blob: storage.BlobEndpoint(), Queue: storage.QueueEndpoint(), Table: storage.TableEndpoint()} {
		target, err := url.Parse(endpoint)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the address of the %s service: %w", service, err), p.Close())
		}
		listener, err := loopback.Listen()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the proxy of the %s service: %w", service, err), p.Close())
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		forward := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				// The path stays as it is: the signature covers it.
				r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
			},
			Transport: transport,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
				panic(http.ErrAbortHandler) // as if there were no proxy
			},
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, service, forward) })
		server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if around := p.around.Load(); around != nil {
				(*around)(service, handler).ServeHTTP(w, r)
				return
			}
			handler(w, r)
		})}
		p.servers = append(p.servers, server)
		p.endpoints[service] = "http://" + listener.Addr().String() + target.Path
		go func() { _ = server.Serve(listener) }()
	}
	return p, nil
}

// ConnectionString reaches the storage account through the proxy.
func (p *Proxy) ConnectionString() string {
	account, _, _ := strings.Cut(p.storage, ";BlobEndpoint=")
	return account + ";BlobEndpoint=" + p.endpoints[Blob] + ";QueueEndpoint=" + p.endpoints[Queue] + ";TableEndpoint=" + p.endpoints[Table] + ";"
}

// Close ends the proxy, and cuts open connections.
func (p *Proxy) Close() error {
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Wrap puts a handler around what requests meet from now on, faults included.
func (p *Proxy) Wrap(around func(service string, next http.Handler) http.Handler) {
	p.around.Store(&around)
}

// Inject adds a fault behind those there are; the first that a request meets is
// used. The function that it returns takes the fault away.
func (p *Proxy) Inject(f Fault) (remove func()) {
	return p.faults.Add(f, fault.Rule{Method: f.Method, Path: f.Path, Skip: f.Skip, Count: f.Count, OnHit: f.OnHit})
}

// ClearFaults takes every fault away.
func (p *Proxy) ClearFaults() { p.faults.Clear() }

// meet returns the fault that a request meets, or nil.
func (p *Proxy) meet(r *http.Request, service string, body []byte) *fault.Active[Fault] {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		query = r.URL.RawQuery
	}
	address := r.URL.Path + "?" + query
	return p.faults.Meet(r, func(f *Fault) bool {
		return (f.Service == "" || f.Service == service) && !slices.ContainsFunc(f.Holds, func(text string) bool {
			return !strings.Contains(address, text) && !bytes.Contains(body, []byte(text))
		})
	})
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, service string, forward http.Handler) {
	if p.faults.Idle() {
		forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	met := p.meet(r, service, body)
	if met == nil {
		forward.ServeHTTP(w, r)
		return
	}
	f := met.Fault
	if f.AfterHandling {
		forward.ServeHTTP(discarded{http.Header{}}, r)
	}
	switch {
	case f.Hang:
		met.Hang(r)
		fault.Reset(w)
	case f.Reset:
		fault.Reset(w)
	case f.Status != 0:
		refuse(w, service, f.Status, f.Code)
	case !f.AfterHandling:
		forward.ServeHTTP(w, r)
	}
}

// refuse answers with the error document of a service: tables speak JSON, the
// others XML.
// https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2
func refuse(w http.ResponseWriter, service string, status int, code string) {
	w.Header().Set("X-Ms-Error-Code", code)
	if service == Table {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"odata.error":{"code":%q,"message":{"lang":"en-US","value":%q}}}`, code, http.StatusText(status))
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, http.StatusText(status))
}

// discarded takes an answer that nobody gets.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d discarded) WriteHeader(int)             {}
