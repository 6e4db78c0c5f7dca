package main

import (
	"os"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestExcerpt holds the simulator's contract to a few calls as NinjaOne publishes
// them, and finds what is taken out of these.
func TestExcerpt(t *testing.T) {
	document, err := os.ReadFile("testdata/excerpt.json")
	if err != nil {
		t.Fatal(err)
	}
	// ofExcerpt compares the contract's calls that the document has.
	ofExcerpt := func(document string) *comparison {
		t.Helper()
		ours, err := openapi3.NewLoader().LoadFromData(ninjasim.Contract())
		if err != nil {
			t.Fatal(err)
		}
		published, err := openapi3.NewLoader().LoadFromData([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		for path, item := range ours.Paths.Map() {
			for method := range item.Operations() {
				if their := published.Paths.Find(path); their == nil || their.GetOperation(method) == nil {
					item.SetOperation(method, nil)
				}
			}
		}
		return compare(ours, published)
	}
	if c := ofExcerpt(string(document)); len(c.differences) > 0 || c.calls != 6 || c.compared < 10 {
		t.Errorf("%d calls and %d properties compared: %q", c.calls, c.compared, c.differences)
	}
	spoiled := strings.Replace(string(document), `"groupName"`, `"scanGroupName"`, 1)
	if c := ofExcerpt(spoiled); len(c.differences) != 1 || !strings.Contains(c.differences[0], "groupName: is not published") {
		t.Errorf("a name that is not published: %q", c.differences)
	}
}
