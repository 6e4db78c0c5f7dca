// Package gallery shows a simulated NinjaOne's custom fields and documents on web pages, about as
// technicians see them. It shows each value as NinjaOne keeps it, in the light or the dark theme of the browser.
// Beside it stands what NinjaOne removed from it. It also shows what documents and devices are
// related to.
//
// It only reads, and values stay untrusted: the pages forbid every script, their own included. Nothing here knows what the
// fields mean or who wrote them.
package gallery

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strconv"

	"cipp-ninjaone/sandbox/ninjasim"
)

//go:embed templates static
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{"number": number}).ParseFS(files, "templates/*.gohtml"))

// contentPolicy allows the gallery's own style sheets, the styles and icons inside values, and nothing else: no script runs.
const contentPolicy = "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// New returns the pages: "/" lists organizations, "/organizations/{id}" shows one, and
// "/organizations/{id}/devices/{device}" and "/organizations/{id}/documents/{document}" a device and a document.
func New(source *ninjasim.Server) http.Handler {
	g := gallery{source}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", g.index)
	mux.HandleFunc("GET /organizations/{organization}", g.organization)
	mux.HandleFunc("GET /organizations/{organization}/devices/{device}", g.device)
	mux.HandleFunc("GET /organizations/{organization}/documents/{document}", g.document)
	mux.HandleFunc("GET /static/icons.css", styleSheet(iconStyles()))
	mux.HandleFunc("GET /static/grid.css", styleSheet(gridStyles()))
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // The folder is embedded above.
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

type gallery struct{ source *ninjasim.Server }

func styleSheet(css string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write([]byte(css))
	}
}

// show renders a page, or nothing of it.
func show(w http.ResponseWriter, name string, page any) {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, page); err != nil {
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

// number writes an integer with its thousands apart.
func number(n int) string {
	digits := strconv.Itoa(n)
	if n < 1000 {
		return digits
	}
	return number(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
