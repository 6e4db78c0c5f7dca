package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/ninjasim"

	"github.com/getkin/kin-openapi/openapi3"
)

const head = "openapi: 3.0.3\ninfo: {title: t, version: v1}\npaths:\n"

const plantCalls = `
  /plant/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
        - {name: size, in: query, schema: {type: integer, format: int32, minimum: 1, maximum: 9}}
        - {name: kinds, in: query, explode: false, schema: {type: array, items: {type: string, enum: [tree, moss]}}}
      responses:
        "200": {description: d, content: {application/json: {schema: {type: object, properties: {name: {type: string}, beds: {type: array, items: {type: integer}}}}}}}
    patch:
      requestBody: {content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}, state: {type: string, enum: [a, b]}}}}}}
      responses:
        "204": {description: d}
`

const plantCallsPublished = `
  /plant/{plantId}:
    get:
      parameters:
        - {name: plantId, in: path, required: true, schema: {type: integer}}
        - {name: size, in: query, schema: {type: integer, format: int32, minimum: 1, maximum: 9}}
        - {name: kinds, in: query, schema: {type: string, enum: ["tree,moss"]}}
        - {name: more, in: query, schema: {type: string}}
      responses:
        default: {description: d, content: {application/json: {schema: {type: object, properties: {name: {type: string}, beds: {type: array, items: {type: integer}}}}}}}
    patch:
      requestBody: {content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}, state: {type: string, enum: [a, b]}}}}}}
      responses:
        default: {description: d}
`

func load(t *testing.T, paths string) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData([]byte(head + paths))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name, from, to string // replaced in our document
		want           []string
	}{
		{name: "same"},
		{"path", "/plant/{id}:", "/plants/{id}:", []string{"GET /plants/{id}: is not published", "PATCH /plants/{id}: is not published"}},
		{"method", "patch:", "put:", []string{"PUT /plant/{id}: is not published"}},
		{"parameter", "name: size", "name: count", []string{"GET /plant/{id} parameter count: is not published"}},
		{"parameter type", "schema: {type: integer, format: int32, minimum: 1, maximum: 9}", "schema: {type: string}",
			[]string{"GET /plant/{id} parameter size: type [string], published [integer]"}},
		{"format", "format: int32", "format: int64", []string{`GET /plant/{id} parameter size: format "int64", published "int32"`}},
		{"range", "minimum: 1, maximum: 9", "maximum: 10", []string{
			"GET /plant/{id} parameter size: allows less than the published minimum 1",
			"GET /plant/{id} parameter size: allows more than the published maximum 9"}},
		{"listed value", "[tree, moss]", "[tree, fern]", []string{"GET /plant/{id} parameter kinds: values [fern] are not published, values [moss] are missing"}},
		{"body property", "state:", "condition:", []string{"PATCH /plant/{id} body condition: is not published"}},
		{"body value", "[a, b]", "[a]", []string{"PATCH /plant/{id} body state: values [] are not published, values [b] are missing"}},
		{"body requirement", "required: [name], ", "", []string{"PATCH /plant/{id} body: does not require name"}},
		{"content type", "requestBody: {content: {application/json", "requestBody: {content: {text/xml",
			[]string{"PATCH /plant/{id}: content type text/xml is not published"}},
		{"answered property", "beds:", "rows:", []string{"GET /plant/{id} answer rows: is not published"}},
		{"answered element", "items: {type: integer}", "items: {type: string}", []string{"GET /plant/{id} answer beds[]: type [string], published [integer]"}},
		{"marked as not published", "beds: {type: array", "rows: {x-not-published: seen, type: array", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ours := plantCalls
			if test.from != "" {
				if ours = strings.Replace(plantCalls, test.from, test.to, 1); ours == plantCalls {
					t.Fatalf("%q is not in the document", test.from)
				}
			}
			got := compare(load(t, ours), load(t, plantCallsPublished)).differences
			if !slices.Equal(got, test.want) {
				t.Errorf("differences:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
	t.Run("required parameter", func(t *testing.T) {
		published := strings.Replace(plantCallsPublished, "{name: more, in: query,", "{name: more, in: query, required: true,", 1)
		got := compare(load(t, plantCalls), load(t, published)).differences
		if !slices.Equal(got, []string{"GET /plant/{id}: lacks the required parameter more"}) {
			t.Errorf("differences %q", got)
		}
	})
}

func TestRun(t *testing.T) {
	write := func(document []byte) string {
		path := filepath.Join(t.TempDir(), "published.yaml")
		if err := os.WriteFile(path, document, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		path         string
		same, failed bool
		printed      string
	}{
		"the same":  {path: write(ninjasim.Contract()), same: true, printed: ": 0 differences;"},
		"different": {path: write([]byte(head + plantCallsPublished)), printed: "GET /v2/organizations: is not published\n"},
		"no file":   {path: "none", failed: true},
	} {
		var out strings.Builder
		differences, err := run(test.path, &out)
		if (err != nil) != test.failed || !test.failed && (differences == 0) != test.same || !strings.Contains(out.String(), test.printed) {
			t.Errorf("%s: %d differences, error %v, printed:\n%s", name, differences, err, out.String())
		}
	}
}
