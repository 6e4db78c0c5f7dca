package bicep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// template is an ARM template, as far as it is compared.
// https://learn.microsoft.com/azure/azure-resource-manager/templates/syntax
type template struct {
	Schema         string                     `json:"$schema"`
	ContentVersion string                     `json:"contentVersion"`
	Parameters     map[string]json.RawMessage `json:"parameters"`
	Resources      json.RawMessage            `json:"resources"` // a list, or by symbolic name
	Outputs        map[string]json.RawMessage `json:"outputs"`
}

type armResource struct {
	Type, APIVersion, Name string
	Properties             struct{ Template json.RawMessage }
}

var (
	guid     = regexp.MustCompile(`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
	ownName  = regexp.MustCompile(`\n\s+name: '\$\{appName\}([-a-z]+)'\n`)
	noValues = regexp.MustCompile(`null\(\)|:\s*null\b`)
)

// compare tells how a compiled template differs from what the Bicep text of main
// and its modules says: what a deployment asks for, which types it makes, which
// roles it grants, which settings it writes, what it calls things.
func compare(compiled []byte, trees map[string]node) (differences []string) {
	differ := func(what string, got, want []string) {
		slices.Sort(got)
		slices.Sort(want)
		if got, want = slices.Compact(got), slices.Compact(want); !slices.Equal(got, want) {
			differences = append(differences, fmt.Sprintf("%s: compiled %v, Bicep %v", what, got, want))
		}
	}
	main := trees["main.bicep"]
	var root template
	types, err := walk(compiled, &root)
	if err != nil {
		return []string{err.Error()}
	}
	var wanted []string
	for name, required := range parameters(main) {
		wanted = append(wanted, fmt.Sprint(name, " required: ", required))
	}
	var asked []string
	for name, raw := range root.Parameters {
		asked = append(asked, fmt.Sprint(name, " required: ", !bytes.Contains(raw, []byte(`"defaultValue"`))))
	}
	differ("parameters", asked, wanted)

	var outputs []string
	for _, o := range main.all("output_declaration") {
		outputs = append(outputs, o.name())
	}
	differ("outputs", slices.Collect(maps.Keys(root.Outputs)), outputs)

	var declared, ids []string
	for _, tree := range trees {
		for _, r := range tree.all("resource_declaration") {
			declared = append(declared, strings.Trim(r.all("string")[0].Text, "'"))
		}
		ids = append(ids, guid.FindAllString(tree.Text, -1)...)
	}
	differ("types", types, declared)
	differ("roles", guid.FindAllString(string(compiled), -1), ids)

	for _, v := range main.all("variable_declaration") {
		if !strings.HasSuffix(v.name(), "Settings") {
			continue
		}
		for _, p := range v.all("object_property") {
			if key := p.Children[0].Text; !bytes.Contains(compiled, []byte(key)) {
				differences = append(differences, "settings: nothing sets "+key)
			}
		}
	}
	for file, tree := range trees {
		for _, m := range ownName.FindAllStringSubmatch(tree.Text, -1) {
			if name := "format('{0}" + m[1] + "', parameters('appName'))"; !bytes.Contains(compiled, []byte(name)) {
				differences = append(differences, fmt.Sprintf("names: nothing of %s is called …%s", file, m[1]))
			}
		}
	}
	if found := noValues.Find(compiled); found != nil {
		differences = append(differences, "a property is null: "+string(found))
	}
	return differences
}

// walk reads a template and returns the types of its resources, those of nested
// templates too.
func walk(raw []byte, t *template) (types []string, err error) {
	if err := json.Unmarshal(raw, t); err != nil {
		return nil, fmt.Errorf("no template: %w", err)
	}
	if !strings.HasSuffix(t.Schema, "/2019-04-01/deploymentTemplate.json#") || t.ContentVersion != "1.0.0.0" {
		return nil, fmt.Errorf("schema %q, content version %q", t.Schema, t.ContentVersion)
	}
	var list []armResource
	if bytes.HasPrefix(t.Resources, []byte("{")) {
		var named map[string]armResource
		err = json.Unmarshal(t.Resources, &named)
		list = slices.Collect(maps.Values(named))
	} else {
		err = json.Unmarshal(t.Resources, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("resources: %w", err)
	}
	for _, r := range list {
		switch {
		case r.Type == "" || r.APIVersion == "" || r.Name == "":
			return nil, fmt.Errorf("a resource lacks its type, version or name: %+v", r)
		case r.Type != "Microsoft.Resources/deployments":
			types = append(types, r.Type+"@"+r.APIVersion)
		default:
			nested, err := walk(r.Properties.Template, &template{})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.Name, err)
			}
			types = append(types, nested...)
		}
	}
	return types, nil
}

// TestCompare: each kind of difference between a compiled template and its Bicep
// is found. (The compiler is not here; the sample was written by hand.)
func TestCompare(t *testing.T) {
	trees := map[string]node{}
	for _, name := range []string{"main.bicep", "alerts.bicep"} {
		trees[name] = parse(t, filepath.Join("testdata", name))
	}
	sample, err := os.ReadFile("testdata/main.json")
	must(t, err)
	for name, tt := range map[string]struct{ from, to, want string }{
		"nothing":             {"", "", ""},
		"parameter missing":   {`"appName": {"type"`, `"app": {"type"`, "parameters: "},
		"parameter optional":  {`{"type": "string"},`, `{"type": "string", "defaultValue": "x"},`, "parameters: "},
		"output missing":      {`"principal": {"type"`, `"other": {"type"`, "outputs: "},
		"another version":     {`"2024-11-30"`, `"2018-11-30"`, "types: "},
		"another nested type": {`Microsoft.Insights/actionGroups`, `Microsoft.Insights/alerts`, "types: "},
		"another role":        {`b7e6dc6d-`, `b7e6dc6e-`, "roles: "},
		"setting missing":     {`CIPP_KEY_VAULT_URI`, `CIPP_VAULT_URI`, "nothing sets CIPP_KEY_VAULT_URI"},
		"another name":        {`{0}-identity`, `{0}-id`, "names: nothing of main.bicep is called …-identity"},
		"a null":              {`"[parameters('settings')]"}`, `null}`, "a property is null"},
		"another schema":      {`2019-04-01`, `2015-01-01`, "schema"},
		"resource unnamed":    {`"name": "people"`, `"label": "people"`, "lacks its type"},
		"not JSON":            {`{`, `[`, "no template"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(compare([]byte(strings.Replace(string(sample), tt.from, tt.to, 1)), trees), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("the differences are %q, want %q", got, tt.want)
			}
		})
	}
}
