// Command graphcheck compares the simulator's property names with a Graph
// $metadata document (OData CSDL), given by path:
//
//	go run ./sandbox/cmd/graphcheck -metadata v1.0.xml
//	go run ./sandbox/cmd/graphcheck -metadata beta.xml -beta
//
// It is run by hand when the schema changes; tests run it on an excerpt of the
// v1.0 document. It exits with 1 when a name differs.
package main

import (
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"cipp-ninjaone/sandbox/m365sim"
)

func main() {
	path := flag.String("metadata", "", "path of the $metadata document")
	beta := flag.Bool("beta", false, "the document is of the beta version")
	flag.Parse()
	n, err := check(os.Stdout, *path, *beta)
	if err != nil {
		fmt.Fprintln(os.Stderr, "graphcheck:", err)
		os.Exit(2)
	}
	if n > 0 {
		os.Exit(1)
	}
}

type csdlType struct {
	Name       string `xml:"Name,attr"`
	BaseType   string `xml:"BaseType,attr"`
	Properties []struct {
		Name string `xml:"Name,attr"`
		Type string `xml:"Type,attr"`
	} `xml:"Property"`
}

// check writes a line for every difference and returns their number.
func check(w io.Writer, path string, beta bool) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("opening the metadata document: %w", err)
	}
	defer f.Close()
	var doc struct {
		Schemas []struct {
			Namespace string     `xml:"Namespace,attr"`
			Types     []csdlType `xml:"EntityType"`
		} `xml:"DataServices>Schema"`
	}
	if err := xml.NewDecoder(f).Decode(&doc); err != nil {
		return 0, fmt.Errorf("reading the metadata document: %w", err)
	}
	types := map[string]csdlType{}
	for _, s := range doc.Schemas {
		if s.Namespace == "microsoft.graph" {
			for _, t := range s.Types {
				types[t.Name] = t
			}
		}
	}
	findings, properties := 0, 0
	report := func(format string, args ...any) {
		findings++
		fmt.Fprintf(w, format+"\n", args...)
	}
	for _, t := range m365sim.Schema() {
		if _, ok := types[t.Name]; !ok {
			report("%s: no such entity type", t.Name)
			continue
		}
		known := map[string]string{}
		for name := t.Name; name != ""; {
			ct := types[name]
			for _, p := range ct.Properties {
				known[p.Name] = p.Type
			}
			name = ct.BaseType[strings.LastIndex(ct.BaseType, ".")+1:]
		}
		for _, p := range t.Properties {
			properties++
			typ, ok := known[p.Name]
			switch {
			case !ok && !(p.BetaOnly && !beta):
				report("%s.%s: no such property", t.Name, p.Name)
			case ok && p.BetaOnly && !beta:
				report("%s.%s: marked beta only, but it is in v1.0", t.Name, p.Name)
			case ok && p.Collection != strings.HasPrefix(typ, "Collection("):
				report("%s.%s: collection or not? The document says %s", t.Name, p.Name, typ)
			}
		}
	}
	fmt.Fprintf(w, "%d properties compared, %d differences\n", properties, findings)
	return findings, nil
}
