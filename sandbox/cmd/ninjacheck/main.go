// Command ninjacheck compares the simulator's contract with the OpenAPI document that NinjaOne publishes, and says what the
// simulator believes that NinjaOne does not. Every instance serves its document without authentication at
// /apidocs/NinjaRMM-API-v2.json.
//
//	ninjacheck -published https://eu.ninjarmm.com/apidocs/NinjaRMM-API-v2.json
//
// It reads the two documents and nothing else; no call of the API is made.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"cipp-ninjaone/sandbox/ninjasim"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxDocument is the largest published document read, in bytes.
const maxDocument = 32 << 20

func main() {
	published := flag.String("published", "", "file or https address of the published OpenAPI document, JSON or YAML")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	same, err := run(ctx, *published, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ninjacheck:", err)
		os.Exit(2)
	}
	if !same {
		os.Exit(1)
	}
}

// run compares, prints each difference on a line, and reports whether there was none.
func run(ctx context.Context, source string, out io.Writer) (bool, error) {
	if source == "" {
		return false, fmt.Errorf("-published is needed: a file, or https://<instance>/apidocs/NinjaRMM-API-v2.json")
	}
	document, err := read(ctx, source)
	if err != nil {
		return false, err
	}
	published, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return false, fmt.Errorf("read the published document %s: %w", source, err)
	}
	ours, err := openapi3.NewLoader().LoadFromData(ninjasim.Contract())
	if err != nil {
		return false, fmt.Errorf("read the simulator's contract: %w", err)
	}
	c := compare(ours, published)
	for _, difference := range c.differences {
		_, _ = fmt.Fprintln(out, difference)
	}
	version := ""
	if published.Info != nil {
		version = published.Info.Version
	}
	_, _ = fmt.Fprintf(out, "%d calls, %d parameters and properties compared with version %s: %d differences; %d not published\n",
		c.calls, c.compared, version, len(c.differences), c.unpublished)
	return len(c.differences) == 0, nil
}

func read(ctx context.Context, source string) ([]byte, error) {
	if !strings.HasPrefix(source, "https://") && !strings.HasPrefix(source, "http://") {
		document, err := os.ReadFile(source)
		if err != nil {
			return nil, fmt.Errorf("read the published document: %w", err)
		}
		return document, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch the published document: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch the published document: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the published document %s: %s", source, response.Status)
	}
	document, err := io.ReadAll(io.LimitReader(response.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("fetch the published document %s: %w", source, err)
	}
	return document, nil
}
