// Package bicep checks the templates below deploy as far as that goes without
// Microsoft's compiler: their syntax by a grammar, and their meaning by tests
// that know what the app needs. The workflow of this repository runs the
// compiler itself.
package bicep

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/fail"
)

const deploy = "../../deploy"

// node is a node of a syntax tree, as parse.mjs prints it.
type node struct {
	Type, Field, Text string
	Line              int
	Children          []node
}

func (n node) each(visit func(n, parent node)) {
	for _, c := range n.Children {
		visit(c, n)
		c.each(visit)
	}
}

// all returns the nodes of a type below n.
func (n node) all(kind string) (found []node) {
	n.each(func(c, _ node) {
		if c.Type == kind {
			found = append(found, c)
		}
	})
	return found
}

// name is what a declaration declares.
func (n node) name() string {
	for _, c := range n.Children {
		if c.Type == "identifier" {
			return c.Text
		}
	}
	return ""
}

// property returns the value of the property at a path below the object that
// ends n.
func (n node) property(t *testing.T, path string) node {
	t.Helper()
	at := n.Children[len(n.Children)-1]
	for key := range strings.SplitSeq(path, ".") {
		i := slices.IndexFunc(at.Children, func(c node) bool { return c.Type == "object_property" && c.Children[0].Text == key })
		if i < 0 {
			t.Fatalf("line %d: %s has no property %s", n.Line, n.name(), path)
		}
		at = at.Children[i].Children[1]
	}
	return at
}

// parsed keeps trees: no test changes one.
var parsed = map[string]node{}

func parse(t *testing.T, file string) node {
	t.Helper()
	if root, ok := parsed[file]; ok {
		return root
	}
	cmd := exec.CommandContext(t.Context(), "node", "parse.mjs", file)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("parse %s (run make sandbox/node_modules once): %v\n%s", file, err, problems.Bytes())
	}
	var root node
	must(t, json.Unmarshal(out, &root))
	parsed[file] = root
	return root
}

func parseAll(t *testing.T) map[string]node {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(deploy, "*.bicep"))
	must(t, err)
	trees := map[string]node{}
	for _, file := range files {
		trees[filepath.Base(file)] = parse(t, file)
	}
	if len(trees) == 0 {
		t.Fatal("there is no template")
	}
	return trees
}

// mustBeUsed are the kinds of nodes that declare a name, and whether something
// has to use it.
var mustBeUsed = map[string]bool{
	"parameter_declaration": true, "variable_declaration": true, "type_declaration": true,
	"resource_declaration": false, "module_declaration": false,
}

// uses returns the identifiers below n that stand for something declared
// elsewhere: all but names of declarations and loop variables, keys of
// properties and names of functions.
func uses(n node) (found []node) {
	named := false // the first identifier is a name that this node gives
	switch n.Type {
	case "object_property", "for_statement", "output_declaration":
		named = true
	default:
		_, named = mustBeUsed[n.Type]
	}
	for _, c := range n.Children {
		switch {
		case c.Type == "identifier" && named:
			named = false
		case c.Type == "identifier" && c.Field != "function":
			found = append(found, c)
		default:
			found = append(found, uses(c)...)
		}
	}
	return found
}

// TestNames finds broken syntax, names that nothing declares, and what is
// declared and not used.
func TestNames(t *testing.T) {
	for file, root := range parseAll(t) {
		for _, kind := range []string{"ERROR", "MISSING"} {
			for _, n := range root.all(kind) {
				t.Errorf("%s:%d: broken syntax at %.60q", file, n.Line, n.Text)
			}
		}
		declared, used := map[string]string{}, map[string]bool{}
		for _, c := range root.Children {
			if _, ok := mustBeUsed[c.Type]; ok {
				declared[c.name()] = c.Type
			}
		}
		for _, loop := range root.all("for_statement") {
			declared[loop.name()] = loop.Type
		}
		for _, n := range uses(root) {
			used[n.Text] = true
			if declared[n.Text] == "" {
				t.Errorf("%s:%d: nothing declares %s", file, n.Line, n.Text)
			}
		}
		for name, kind := range declared {
			if mustBeUsed[kind] && !used[name] {
				t.Errorf("%s: nothing uses %s", file, name)
			}
		}
	}
}

// parameters returns a template's parameters, and whether each must be given.
func parameters(root node) map[string]bool {
	found := map[string]bool{}
	for _, c := range root.Children {
		if c.Type == "parameter_declaration" {
			found[c.name()] = !strings.Contains(c.Text, "=")
		}
	}
	return found
}

func checkGiven(t *testing.T, where string, wanted map[string]bool, given []string) {
	t.Helper()
	for _, name := range given {
		if _, ok := wanted[name]; !ok {
			t.Errorf("%s gives the parameter %s, which does not exist", where, name)
		}
	}
	for name, required := range wanted {
		if required && !slices.Contains(given, name) {
			t.Errorf("%s does not give the parameter %s", where, name)
		}
	}
}

// TestParameters holds what is given to a template against what it takes.
func TestParameters(t *testing.T) {
	trees := parseAll(t)
	modules := 0
	for file, root := range trees {
		for _, m := range root.Children {
			if m.Type != "module_declaration" {
				continue
			}
			modules++
			target := strings.Trim(m.all("string")[0].Text, "'")
			if _, ok := trees[target]; !ok {
				t.Errorf("%s:%d: there is no %s", file, m.Line, target)
				continue
			}
			var given []string
			for _, p := range m.property(t, "params").Children {
				if p.Type == "object_property" {
					given = append(given, p.Children[0].Text)
				}
			}
			checkGiven(t, file+": module "+m.name(), parameters(trees[target]), given)
		}
	}
	if modules != len(trees)-1 {
		t.Errorf("%d templates beside the main one, and %d modules", len(trees)-1, modules)
	}
	example := read(t, "example.bicepparam")
	if !strings.Contains(example, "using 'main.bicep'") {
		t.Error("the example is for another template")
	}
	var given []string
	for _, m := range regexp.MustCompile(`(?m)^param (\w+) = `).FindAllStringSubmatch(example, -1) {
		given = append(given, m[1])
	}
	checkGiven(t, "the example", parameters(trees["main.bicep"]), given)
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	must(t, err)
	return string(text)
}

// known are the resource types and versions whose properties were compared with
// Microsoft's own definitions (Azure/bicep-types-az). Before another goes in
// here, its properties in the templates want comparing too.
var known = []string{
	"Microsoft.Authorization/roleAssignments@2022-04-01",
	"Microsoft.Insights/actionGroups@2023-01-01",
	"Microsoft.Insights/components@2020-02-02",
	"Microsoft.Insights/scheduledQueryRules@2023-12-01",
	"Microsoft.KeyVault/vaults/accessPolicies@2024-11-01",
	"Microsoft.KeyVault/vaults@2024-11-01",
	"Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30",
	"Microsoft.OperationalInsights/workspaces@2025-02-01",
	"Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01",
	"Microsoft.Storage/storageAccounts/blobServices@2025-01-01",
	"Microsoft.Storage/storageAccounts@2025-01-01",
	"Microsoft.Web/serverfarms@2024-11-01",
	"Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01",
	"Microsoft.Web/sites/config@2024-11-01",
	"Microsoft.Web/sites/extensions@2024-11-01",
	"Microsoft.Web/sites@2024-11-01",
}

func TestResourceTypes(t *testing.T) {
	var found []string
	for _, root := range parseAll(t) {
		for _, r := range root.all("resource_declaration") {
			found = append(found, strings.Trim(r.all("string")[0].Text, "'"))
		}
	}
	slices.Sort(found)
	want := slices.Sorted(slices.Values(known))
	if got := slices.Compact(found); !slices.Equal(got, want) {
		t.Errorf("the templates have the types\n%s\nand those that were compared are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// roles are the built-in roles that the templates may grant, by the name of the
// variable that holds the id.
// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = map[string]string{
	"storageBlobDataOwner":        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
	"storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
	"storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
	"keyVaultSecretsUser":         "4633458b-17de-408a-b874-0445c86b69e6",
	"keyVaultSecretsOfficer":      "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
	"monitoringMetricsPublisher":  "3913510d-42f4-4e42-8a64-420c390055eb",
}

// TestRoles: the ids are those of the roles that their names say, and what is
// granted at CIPP's resources is what the app uses there.
func TestRoles(t *testing.T) {
	granted := map[string][]string{}
	for file, root := range parseAll(t) {
		for _, v := range root.all("variable_declaration") {
			id := strings.Trim(v.Children[1].Text, "'")
			if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(id) {
				continue
			}
			if roles[v.name()] != id {
				t.Errorf("%s:%d: %s is %s, and the role is %s", file, v.Line, v.name(), id, roles[v.name()])
			}
			granted[file] = append(granted[file], v.name())
		}
	}
	want := []string{"storageTableDataContributor", "keyVaultSecretsUser", "keyVaultSecretsOfficer"}
	if got := granted["cipp-access.bicep"]; !slices.Equal(got, want) {
		t.Errorf("at CIPP's resources %v are granted, want %v", got, want)
	}
	main := read(t, "main.bicep")
	for _, word := range []string{"listKeys", "AccountKey=", "listSecrets", "list("} {
		if strings.Contains(main, word) {
			t.Errorf("main.bicep uses %s: the app has one identity and no keys", word)
		}
	}
}

// resource returns the resource with a symbolic name.
func resource(t *testing.T, root node, name string) node {
	t.Helper()
	for _, r := range root.all("resource_declaration") {
		if r.name() == name {
			return r
		}
	}
	t.Fatalf("there is no resource %s", name)
	return node{}
}

// TestAuthentication: everything asks for a login but the route of the
// notifications, which Microsoft Graph calls without one.
func TestAuthentication(t *testing.T) {
	function, err := os.ReadFile("../../functions/ReceiveNotifications/function.json")
	must(t, err)
	var route struct {
		Bindings []struct{ Route string }
	}
	must(t, json.Unmarshal(function, &route))
	auth := resource(t, parse(t, filepath.Join(deploy, "main.bicep")), "authentication")
	for path, want := range map[string]string{
		"name":                        "'authsettingsV2'",
		"properties.platform.enabled": "true",
		"properties.globalValidation.requireAuthentication":       "true",
		"properties.globalValidation.unauthenticatedClientAction": "'RedirectToLoginPage'",
		"properties.globalValidation.excludedPaths":               "['/api/" + route.Bindings[0].Route + "']",
		"properties.httpSettings.requireHttps":                    "true",
	} {
		if got := auth.property(t, path).Text; got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// variable returns the value of a variable, as its text in one line.
func variable(t *testing.T, root node, name string) string {
	t.Helper()
	for _, v := range root.all("variable_declaration") {
		if v.name() == name {
			return strings.Join(strings.Fields(v.Text), " ")
		}
	}
	t.Fatalf("there is no variable %s", name)
	return ""
}

// TestPlans: each plan is sent exactly what it has. Regions refuse properties of
// the other plan, even where they are null. One instance for HTTP never sleeps.
func TestPlans(t *testing.T) {
	root := parse(t, filepath.Join(deploy, "main.bicep"))
	flex, dedicated := variable(t, root, "flexProperties"), variable(t, root, "dedicatedProperties")
	for _, want := range []string{"name: 'custom'", "alwaysReady: [ { name: 'http' instanceCount: 1 } ]", "maximumInstanceCount: maximumInstanceCount", "type: 'UserAssignedIdentity'"} {
		if !strings.Contains(flex, want) {
			t.Errorf("the plan flex lacks %s: %s", want, flex)
		}
	}
	for _, word := range []string{"ftpsState", "alwaysOn", "linuxFxVersion", "null"} {
		if strings.Contains(flex, word) {
			t.Errorf("the plan flex is sent %s", word)
		}
	}
	for _, word := range []string{"functionAppConfig", "null"} {
		if strings.Contains(dedicated, word) {
			t.Errorf("the plan dedicated is sent %s", word)
		}
	}
	for _, want := range []string{"alwaysOn: true", "ftpsState: 'Disabled'"} {
		if !strings.Contains(dedicated, want) {
			t.Errorf("the plan dedicated lacks %s: %s", want, dedicated)
		}
	}
	properties := resource(t, root, "app").property(t, "properties").Text
	if !regexp.MustCompile(`^union\((?s:.*),\s+flex \? flexProperties : dedicatedProperties\s+\)$`).MatchString(properties) || strings.Contains(properties, "null") {
		t.Errorf("the app's properties are %s", properties)
	}
	if text := read(t, "main.bicep"); strings.Contains(text, "null") {
		t.Error("main.bicep sends a null: leave the property out")
	}
}

// limits are the longest names that Azure takes, by resource type.
// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
var limits = map[string]int{
	"Microsoft.Insights/actionGroups":                  260,
	"Microsoft.Insights/components":                    260,
	"Microsoft.Insights/scheduledQueryRules":           260,
	"Microsoft.ManagedIdentity/userAssignedIdentities": 128,
	"Microsoft.OperationalInsights/workspaces":         63,
	"Microsoft.Web/serverfarms":                        60,
	"Microsoft.Web/sites":                              60,
	"Microsoft.Resources/deployments":                  64,
}

// TestNamesFit: no name that is built from the longest app name is too long.
func TestNamesFit(t *testing.T) {
	m := regexp.MustCompile(`@maxLength\((\d+)\)[^\n]*\nparam appName`).FindStringSubmatch(read(t, "main.bicep"))
	if m == nil {
		t.Fatal("the app's name has no limit")
	}
	longest, err := strconv.Atoi(m[1])
	must(t, err)
	fits := 0
	for file, root := range parseAll(t) {
		for _, d := range append(root.all("resource_declaration"), root.all("module_declaration")...) {
			kind := "Microsoft.Resources/deployments"
			if d.Type == "resource_declaration" {
				kind, _, _ = strings.Cut(strings.Trim(d.all("string")[0].Text, "'"), "@")
			}
			name := regexp.MustCompile(`\n\s+name: ('[^\n]*'|appName)\n`).FindStringSubmatch(d.Text)
			if name == nil || !strings.Contains(name[1], "appName") || strings.HasPrefix(name[1], "'st$") {
				continue
			}
			literal := strings.Trim(strings.ReplaceAll(name[1], "${appName}", ""), "'")
			if literal == "appName" {
				literal = ""
			}
			literal = regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(literal, strings.Repeat("x", 40))
			if limit := limits[kind]; longest+len(literal) > limit {
				t.Errorf("%s:%d: %s makes a name of up to %d characters, and %s takes %d", file, d.Line, name[1], longest+len(literal), kind, limit)
			}
			fits++
		}
	}
	if fits < 6 {
		t.Errorf("only %d names were looked at", fits)
	}
}

// TestOwnResourceGroup: nothing puts the app beside CIPP by default.
func TestOwnResourceGroup(t *testing.T) {
	root := parse(t, filepath.Join(deploy, "main.bicep"))
	if required := parameters(root)["cippResourceGroupName"]; !required {
		t.Error("the resource group of CIPP has a default")
	}
	for _, want := range []string{"@minValue(40)", "param maximumInstanceCount int = 100"} {
		if !strings.Contains(read(t, "main.bicep"), want) {
			t.Errorf("main.bicep lacks %s", want)
		}
	}
}

// TestSilence: the alert on silence rests on a timer that exists, and whose
// records the host does not sample.
func TestSilence(t *testing.T) {
	query := resource(t, parse(t, filepath.Join(deploy, "alerts.bicep")), "silenceAlert").property(t, "properties.criteria").Text
	m := regexp.MustCompile(`requests \| where name == \\'(\w+)\\'`).FindStringSubmatch(query)
	if m == nil {
		t.Fatalf("the query is another: %s", query)
	}
	function, err := os.ReadFile(filepath.Join("../../functions", m[1], "function.json"))
	if err != nil || !bytes.Contains(function, []byte("timerTrigger")) {
		t.Errorf("%s is no timer: %v", m[1], err)
	}
	host, err := os.ReadFile("../../host.json")
	if err != nil || !bytes.Contains(host, []byte(`"excludedTypes": "Request"`)) {
		t.Errorf("the host may sample its records of invocations: %v", err)
	}
}

// TestAppRoles: the roles of the app registration are those that the handler
// knows.
func TestAppRoles(t *testing.T) {
	var defined []struct {
		ID, Value          string
		IsEnabled          bool
		AllowedMemberTypes []string
	}
	must(t, json.Unmarshal([]byte(read(t, "app-roles.json")), &defined))
	code, err := os.ReadFile("../../handler/internal/access/access.go")
	must(t, err)
	var got, want []string
	for _, r := range defined {
		got = append(got, r.Value)
		if !r.IsEnabled || !slices.Equal(r.AllowedMemberTypes, []string{"User"}) || !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(r.ID) {
			t.Errorf("role %+v", r)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\tRole\w+ += "(\w+)"`).FindAllStringSubmatch(string(code), -1) {
		want = append(want, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("the app registration has the roles %v, the handler knows %v", got, want)
	}
}

// TestGuide: what the guide names is there, and the other way round.
func TestGuide(t *testing.T) {
	guide := read(t, "README.md")
	files, err := os.ReadDir(deploy)
	must(t, err)
	for _, f := range files {
		if f.Name() != "README.md" && !strings.Contains(guide, "| `"+f.Name()+"` |") {
			t.Errorf("the guide does not explain %s", f.Name())
		}
	}
	root := parse(t, filepath.Join(deploy, "main.bicep"))
	var outputs []string
	for _, o := range root.all("output_declaration") {
		outputs = append(outputs, o.name())
	}
	for _, m := range regexp.MustCompile("outputs\\.(\\w+)|the output `(\\w+)`").FindAllStringSubmatch(guide, -1) {
		if name := m[1] + m[2]; !slices.Contains(outputs, name) {
			t.Errorf("the guide names the output %s, and there are %v", name, outputs)
		}
	}
	var titles []string
	for _, m := range regexp.MustCompile(`(?:title: '|displayName: '\$\{appName\}: )([^'$]+)'`).FindAllStringSubmatch(read(t, "alerts.bicep"), -1) {
		titles = append(titles, m[1])
		if !strings.Contains(guide, "| "+m[1]+" |") {
			t.Errorf("the guide does not explain the alert %q", m[1])
		}
	}
	if len(titles) != 5 {
		t.Errorf("the alerts are %q; the guide tells of the cost of five", titles)
	}
}

var must = fail.If
