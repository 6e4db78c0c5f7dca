package bicep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// script runs a shell script of the project with stand-ins before other programs
// on the PATH, and returns what it prints.
func script(t *testing.T, dir string, env []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, problems.String())
	}
	return out.String(), err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o755))
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// azure stands in for the Azure CLI: it knows what was made by its files.
const azure = `#!/bin/sh
cd "$WORLD"
echo "az $*" >> calls
made() { test ! -f "$1" || cat "$1"; }
case "$*" in
'ad app list '*) made client ;;
'ad app create '*) echo 11111111-2222-4333-8444-555555555555 | tee client ;;
'ad sp list '*) made service ;;
'ad sp create '*) echo service-id | tee service ;;
'ad sp update '*) ;;
'ad sp show '*) echo role-id ;;
'ad signed-in-user show '*) echo my-id ;;
'rest --method GET '*) made assignment ;;
'rest --method POST '*) echo assigned > assignment ;;
'account show '*) echo tenant-id ;;
'ad app federated-credential list '*) made subject ;;
'ad app federated-credential create '* | 'ad app federated-credential update '*)
  echo "$*" | sed 's/.*"subject":"\([^"]*\)".*/\1/' > subject ;;
'functionapp deployment source config-zip '*)
  echo . >> tries
  test "$(wc -l < tries)" -gt 2 || { echo "403" >&2; exit 1; } ;;
*) echo "az $*: not known here" >&2; exit 1 ;;
esac
`

// developer stands in for azd.
const developer = `#!/bin/sh
case "$*" in
'env set AUTH_CLIENT_ID '*) shift 3; echo "$1" > "$WORLD/auth" ;;
'env get-value AUTH_CLIENT_ID') cat "$WORLD/auth" ;;
*) exit 1 ;;
esac
`

// TestAzdUp: the hooks of azure.yaml register the login, make it trust the
// identity, and publish the package, again where that fails at first; done once
// more they make nothing twice.
func TestAzdUp(t *testing.T) {
	world, bin := t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "az"), azure)
	write(t, filepath.Join(bin, "azd"), developer)
	project := t.TempDir()
	for _, name := range []string{"azure.yaml", "deploy/azd.sh", "deploy/login.sh", "deploy/app-roles.json"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		write(t, filepath.Join(project, name), string(text))
	}
	write(t, filepath.Join(project, "Makefile"), "package:\n\tmkdir -p out\n\techo package > out/cipp-ninjaone.zip\n\tcd out && sha256sum cipp-ninjaone.zip > cipp-ninjaone.zip.sha256\n")

	hooks := regexp.MustCompile(`run: (sh deploy/azd\.sh \w+)`).FindAllStringSubmatch(readRoot(t, "azure.yaml"), -1)
	if len(hooks) != 2 {
		t.Fatalf("the hooks of azure.yaml are %v", hooks)
	}
	env := []string{"WORLD=" + world, "PATH=" + bin + ":" + os.Getenv("PATH"), "AZD_WAIT=0",
		"AZURE_ENV_NAME=contoso-ninja", "AZURE_SUBSCRIPTION_ID=sub", "resourceGroupName=rg-ninja", "identityPrincipalId=identity-1", "consoleUrl=https://console.example/"}
	up := func() (out string) {
		t.Helper()
		for _, h := range hooks {
			text, err := script(t, project, env, "sh", "-c", h[1])
			if err != nil {
				t.Fatalf("%s: %v", h[1], err)
			}
			out += text
		}
		return out
	}
	if out := up(); !strings.Contains(out, "https://console.example/") {
		t.Errorf("it prints %q", out)
	}
	if got := lines(t, filepath.Join(world, "auth")); got[0] != "11111111-2222-4333-8444-555555555555" {
		t.Errorf("AUTH_CLIENT_ID is %q", got)
	}
	calls := strings.Join(lines(t, filepath.Join(world, "calls")), "\n")
	for _, want := range []string{
		"--web-redirect-uris https://contoso-ninja.azurewebsites.net/.auth/login/aad/callback",
		"appRoleAssignmentRequired=true",
		`{"principalId":"my-id","resourceId":"service-id","appRoleId":"role-id"}`,
		`"issuer":"https://login.microsoftonline.com/tenant-id/v2.0"`,
		"config-zip --only-show-errors --output none --subscription sub --resource-group rg-ninja --name contoso-ninja --src out/cipp-ninjaone.zip",
	} {
		if !strings.Contains(calls, want) {
			t.Errorf("no call holds %q:\n%s", want, calls)
		}
	}
	if n := len(lines(t, filepath.Join(world, "tries"))); n != 3 {
		t.Errorf("the package was published by %d tries, want 3", n)
	}

	must(t, os.Remove(filepath.Join(world, "calls")))
	up()
	for _, call := range lines(t, filepath.Join(world, "calls")) {
		for _, verb := range []string{" create ", " POST ", "credential update"} {
			if strings.Contains(call, verb) {
				t.Errorf("the second time: %s", call)
			}
		}
	}

	// The identity was made anew.
	env = append(env, "identityPrincipalId=identity-2")
	up()
	if got := lines(t, filepath.Join(world, "subject")); got[0] != "identity-2" {
		t.Errorf("the login trusts %q", got)
	}

	// The package is not the one of its checksum: nothing is registered.
	write(t, filepath.Join(project, "out", "cipp-ninjaone.zip"), "another")
	if _, err := script(t, project, env, "sh", "-c", hooks[0][1]); err == nil {
		t.Error("a package that is not the one of its checksum passes")
	}
	// Two registrations of one name: a person decides.
	write(t, filepath.Join(world, "client"), "11111111-2222-4333-8444-555555555555\n21111111-2222-4333-8444-555555555555\n")
	if _, err := script(t, project, env, "sh", "deploy/login.sh", "register", "contoso-ninja"); err == nil || !strings.Contains(err.Error(), "Several app registrations") {
		t.Errorf("of two registrations: %v", err)
	}
}

func readRoot(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	must(t, err)
	return string(b)
}

// TestAzdAgrees: what azd is told fits the templates: it finds them, gives only
// parameters that they have, and the hooks read only outputs that they have.
func TestAzdAgrees(t *testing.T) {
	main := parse(t, filepath.Join(deploy, "main.bicep"))
	project := readRoot(t, "azure.yaml")
	for _, want := range []string{"path: deploy", "module: main", "provider: bicep"} {
		if !strings.Contains(project, want) {
			t.Errorf("azure.yaml lacks %q", want)
		}
	}
	var file struct {
		Parameters map[string]struct{ Value string }
	}
	must(t, json.Unmarshal([]byte(read(t, "main.parameters.json")), &file))
	declared := parameters(main)
	for name, p := range file.Parameters {
		if _, ok := declared[name]; !ok {
			t.Errorf("azd gives %s, which no template takes", name)
		}
		if v := strings.Trim(p.Value, "${}"); !strings.Contains("AZURE_ENV_NAME "+read(t, "azd.sh"), v) {
			t.Errorf("nothing sets %s", v)
		}
	}
	var outputs []string
	for _, o := range main.all("output_declaration") {
		outputs = append(outputs, o.name())
	}
	for _, m := range regexp.MustCompile(`"?\$([a-z]\w+)"?`).FindAllStringSubmatch(read(t, "azd.sh"), -1) {
		if name := m[1]; !slices.Contains([]string{"package", "client", "try", "sum"}, name) && !slices.Contains(outputs, name) {
			t.Errorf("azd.sh reads %s, which is no output of main.bicep", name)
		}
	}
}

// TestPackagePublished: each plan takes the package of a release in its own way,
// and only where an address is given.
func TestPackagePublished(t *testing.T) {
	main := parse(t, filepath.Join(deploy, "main.bicep"))
	if required, ok := parameters(main)["packageUri"]; !ok || required {
		t.Error("packageUri is no parameter with a default")
	}
	for name, want := range map[string][2]string{"flexPackage": {"if (flex && !empty(packageUri))", "'onedeploy'"}, "dedicatedPackage": {"if (!flex && !empty(packageUri))", "'ZipDeploy'"}} {
		r := resource(t, main, name)
		if !strings.Contains(r.Text, want[0]) || !strings.Contains(r.Text, "name: "+want[1]) || !strings.Contains(r.Text, "packageUri: packageUri") || !strings.Contains(r.Text, "dependsOn: [appSettings, authentication]") {
			t.Errorf("%s is %s", name, r.Text)
		}
	}
}

// TestReleaseTemplate: the template of a release takes the package of that
// release, lies on the branch that the portal can read, and the notes' button
// names that very commit; the next release adds to the branch.
func TestReleaseTemplate(t *testing.T) {
	dir := t.TempDir()
	remote := filepath.Join(dir, "remote.git")
	if out, err := script(t, dir, nil, "git", "init", "-q", "--bare", remote); err != nil {
		t.Fatal(out, err)
	}
	compiled, err := filepath.Abs("testdata/main.json")
	must(t, err)
	release := func(tag string) string {
		t.Helper()
		notes, err := script(t, root, nil, ".ci/release-template", compiled, "contoso/cipp-ninjaone", tag, remote)
		must(t, err)
		return notes
	}
	release("v1.0.0")
	notes := release("v1.1.0")
	m := regexp.MustCompile(`https://portal\.azure\.com/#create/Microsoft\.Template/uri/([^)]+)\)`).FindStringSubmatch(notes)
	if m == nil {
		t.Fatalf("the notes have no button:\n%s", notes)
	}
	address, err := url.QueryUnescape(m[1])
	must(t, err)
	commit := strings.TrimSuffix(strings.TrimPrefix(address, "https://raw.githubusercontent.com/contoso/cipp-ninjaone/"), "/azuredeploy.json")
	text, err := script(t, dir, nil, "git", "--git-dir", remote, "show", commit+":azuredeploy.json")
	if err != nil {
		t.Fatalf("the button leads to %s: %v", address, err)
	}
	var made struct {
		Parameters map[string]struct{ DefaultValue string }
	}
	must(t, json.Unmarshal([]byte(text), &made))
	if got := made.Parameters["packageUri"].DefaultValue; got != "https://github.com/contoso/cipp-ninjaone/releases/download/v1.1.0/released-package.zip" {
		t.Errorf("the package is %q", got)
	}
	if log, _ := script(t, dir, nil, "git", "--git-dir", remote, "log", "--format=%s", "deploy"); log != "The template of v1.1.0\nThe template of v1.0.0\n" {
		t.Errorf("the branch holds %q", log)
	}
	if !strings.Contains(readRoot(t, ".github/workflows/release.yml"), "cp out/cipp-ninjaone.zip out/released-package.zip") {
		t.Error("no release holds released-package.zip")
	}
	if readme := readRoot(t, "README.md"); !strings.Contains(readme, "[![Deploy to Azure](https://aka.ms/deploytoazurebutton)](../../releases/latest)") {
		t.Error("the README has no button")
	}
	if !strings.Contains(read(t, "README.md"), "\n## By the button\n") {
		t.Error("the guide has no part that the notes lead to")
	}
}

// compiler stands in for Bicep.
const compiler = `#!/bin/sh
case "$1 $*" in
--version*) echo "Bicep CLI version $SAYS (0123456789)" ;;
lint*"$WARNS") echo "$2(1,2) : Warning BCP335: too long" >&2 ;;
build\ *) echo '{}' > out/azuredeploy.json ;;
snapshot*validate*) test -z "$CHANGED" || { echo "Snapshot validation failed." ; exit 1; } ;;
snapshot*overwrite*) echo '{"new": true}' > "$(echo "$2" | sed s/bicepparam/snapshot.json/)" ;;
esac
`

// TestCompilerScript: a warning, a snapshot that is missing and one that differs
// fail, and the snapshots to look at are laid out; nothing is committed by itself.
func TestCompilerScript(t *testing.T) {
	for name, tt := range map[string]struct {
		env     []string
		missing bool
		says    string // "" passes
		laid    bool
	}{
		"all well":          {},
		"a warning":         {env: []string{"WARNS=deploy/alerts.bicep"}, says: "BCP335"},
		"another compiler":  {env: []string{"SAYS=0.40.2"}, says: "not Bicep 0.49.2"},
		"snapshot missing":  {missing: true, says: "flex.snapshot.json is missing", laid: true},
		"something changed": {env: []string{"CHANGED=yes"}, says: "deploy something else now", laid: true},
	} {
		t.Run(name, func(t *testing.T) {
			project := t.TempDir()
			for _, name := range []string{".ci/templates", "deploy/main.bicep", "deploy/alerts.bicep", "deploy/example.bicepparam", "deploy/snapshots/flex.bicepparam"} {
				write(t, filepath.Join(project, name), readRoot(t, name))
			}
			bicep := filepath.Join(project, "bicep")
			write(t, bicep, compiler)
			kept := filepath.Join(project, "deploy/snapshots/flex.snapshot.json")
			if !tt.missing {
				write(t, kept, "kept")
			}
			out, err := script(t, project, append([]string{"BICEP=" + bicep, "SAYS=0.49.2", "WARNS=none"}, tt.env...), ".ci/templates")
			if (err == nil) != (tt.says == "") || !strings.Contains(out, tt.says) {
				t.Errorf("it ends with %v, and says %q", err, out)
			}
			if _, err := os.Stat(filepath.Join(project, "out/snapshots/flex.snapshot.json")); (err == nil) != tt.laid {
				t.Errorf("the new snapshot: %v", err)
			}
			if b, _ := os.ReadFile(kept); !tt.missing && string(b) != "kept" || tt.missing && len(b) > 0 {
				t.Errorf("the kept snapshot became %q", b)
			}
		})
	}
}

// TestSnapshots: there is one of each plan, and it gives what main.bicep takes.
func TestSnapshots(t *testing.T) {
	declared := parameters(parse(t, filepath.Join(deploy, "main.bicep")))
	for _, plan := range []string{"flex", "dedicated"} {
		text := read(t, filepath.Join("snapshots", plan+".bicepparam"))
		var given []string
		for _, m := range regexp.MustCompile(`(?m)^param (\w+) = `).FindAllStringSubmatch(text, -1) {
			given = append(given, m[1])
		}
		checkGiven(t, plan, declared, given)
		for _, want := range []string{"using '../main.bicep'", "param plan = '" + plan + "'", "param packageUri = "} {
			if !strings.Contains(text, want) {
				t.Errorf("the snapshot of %s lacks %s", plan, want)
			}
		}
	}
}

// TestWorkflows: what one workflow lays down the next picks up, the compiler is
// the one that the guide names, and every variable that is read is explained.
func TestWorkflows(t *testing.T) {
	test, release, whatIf := readRoot(t, ".github/workflows/test.yml"), readRoot(t, ".github/workflows/release.yml"), readRoot(t, ".github/workflows/what-if.yml")
	script := readRoot(t, ".ci/templates")
	for where, want := range map[string][]string{
		test:    {"run: .ci/templates\n", "-tags compiled -run TestCompiled ./sandbox/bicep", "name: template\n          path: out/\n", "system: [windows, darwin]"},
		script:  {"$out/azuredeploy.json"},
		release: {"name: template\n          path: template\n", ".ci/release-template template/azuredeploy.json", "needs: test\n"},
		whatIf:  {"--template-file deploy/main.bicep"},
	} {
		for _, text := range want {
			if !strings.Contains(where, text) {
				t.Errorf("%.60q … lacks %q", where, text)
			}
		}
	}
	version := regexp.MustCompile(`(?m)^version=(\S+)$`).FindStringSubmatch(script)
	if version == nil {
		t.Fatal("the compiler has no version")
	}
	for name, text := range map[string]string{"the guide": read(t, "README.md"), "CONTRIBUTING.md": readRoot(t, "CONTRIBUTING.md")} {
		for _, m := range regexp.MustCompile(`Bicep (\d+(?:\.\d+)+)`).FindAllStringSubmatch(strings.ReplaceAll(text, "\n", " "), -1) {
			if m[1] != version[1] {
				t.Errorf("%s names Bicep %s, and the compiler is %s", name, m[1], version[1])
			}
		}
	}
	contributing := readRoot(t, "CONTRIBUTING.md")
	for _, m := range regexp.MustCompile(`vars\.(\w+)`).FindAllStringSubmatch(whatIf, -1) {
		if !strings.Contains(contributing, "`"+m[1]+"`") {
			t.Errorf("CONTRIBUTING.md does not explain the variable %s", m[1])
		}
	}
}
