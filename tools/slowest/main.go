// Command slowest reads what `go test -json` writes and prints what `go test` would have
// printed. At the end it prints the slowest tests. It judges nothing: the status of `go
// test` does.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// listed is how many of the slowest tests are printed.
const listed = 10

// event is a line of `go test -json`.
// https://pkg.go.dev/cmd/test2json
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

func main() {
	if err := report(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "slowest:", err)
		os.Exit(1)
	}
}

func report(in io.Reader, out io.Writer) error {
	kept := map[[2]string][]string{} // output by package and test
	var tests []event
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if e.Test != "" || strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL") || strings.HasPrefix(e.Output, "panic") {
				kept[key] = append(kept[key], e.Output)
			}
		case "pass", "skip", "fail":
			if e.Action == "fail" || e.Test == "" {
				fmt.Fprint(out, strings.Join(kept[key], ""))
			}
			delete(kept, key)
			if e.Test != "" && !strings.Contains(e.Test, "/") {
				tests = append(tests, e)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	// A process that ended early told of no test's end.
	for key, texts := range kept {
		fmt.Fprintf(out, "%s %s did not end:\n%s", key[0], key[1], strings.Join(texts, ""))
	}
	slices.SortFunc(tests, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	fmt.Fprintf(out, "\nThe slowest tests:\n")
	for _, e := range tests[:min(listed, len(tests))] {
		fmt.Fprintf(out, "%7.1f s  %s %s\n", e.Elapsed, e.Package, e.Test)
	}
	return nil
}
