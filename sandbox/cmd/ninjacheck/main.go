// Command ninjacheck compares the simulator's contract with NinjaOne's published OpenAPI document,
// given by path. It says what the simulator believes that NinjaOne does not:
//
//	go run ./sandbox/cmd/ninjacheck -published NinjaRMM-API-v2.json
//
// It is run by hand when the contract changes; tests run it on an excerpt of the document. It exits with 1 when they differ.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"cipp-ninjaone/sandbox/ninjasim"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	published := flag.String("published", "", "path of the published OpenAPI document, JSON or YAML")
	flag.Parse()
	differences, err := run(*published, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ninjacheck:", err)
		os.Exit(2)
	}
	if differences > 0 {
		os.Exit(1)
	}
}

// run compares, prints each difference on a line, and returns their number.
func run(path string, out io.Writer) (int, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the published document: %w", err)
	}
	published, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return 0, fmt.Errorf("read the published document %s: %w", path, err)
	}
	ours, err := openapi3.NewLoader().LoadFromData(ninjasim.Contract())
	if err != nil {
		return 0, fmt.Errorf("read the simulator's contract: %w", err)
	}
	c := compare(ours, published)
	for _, difference := range c.differences {
		_, _ = fmt.Fprintln(out, difference)
	}
	_, _ = fmt.Fprintf(out, "%d calls, %d parameters and properties compared: %d differences; %d not published\n",
		c.calls, c.compared, len(c.differences), c.unpublished)
	return len(c.differences), nil
}
