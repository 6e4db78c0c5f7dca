package compose

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/tenant"
)

// mark comes before what is appended to texts: their order is that of what they were.
const mark = "§"

// harmless leaves of a text what means nothing to HTML.
var harmless = strings.NewReplacer("<", "_", ">", "_", `"`, "_", "'", "_", "&", "_")

// everything is all that values are composed of.
type everything struct {
	In     Input
	Access tenant.Part[MailboxAccess]
}

func believableEverything() everything {
	return everything{believable(), tenant.Present(MailboxAccess{AsOf: ago(1), Full: map[string][]string{id(kindUser, 1): {"assistant@larkfield.example"}}})}
}

// each calls change with every text, and with the path to it, in which elements of
// lists are alike.
func each(path string, v reflect.Value, change func(path, s string) string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			each(path, v.Elem(), change)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).CanSet() && name != "Matches" {
				each(path+"."+name, v.Field(i), change)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			each(path+"[]", v.Index(i), change)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value, name := reflect.New(v.Type().Elem()).Elem(), key
			value.Set(v.MapIndex(key))
			each(path+"[]", value, change)
			if key.Type() == reflect.TypeFor[string]() {
				name = reflect.ValueOf(change(path+"[key]", key.String()))
				v.SetMapIndex(reflect.ValueOf(fold(name.String())), value)
			}
			v.SetMapIndex(name, value)
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(change(path, v.String()))
		}
	}
}

// poisoned appends s to every text that a path leads to; to all of them if path is "".
func poisoned(path, s string) everything {
	e := believableEverything()
	e.In.Exposure = exposed()
	each("", reflect.ValueOf(&e).Elem(), func(p, text string) string {
		if path == "" || p == path {
			return text + mark + s
		}
		return text
	})
	e.In = withMatches(e.In)
	return e
}

// values composes every field and every document.
func (e everything) values(t *testing.T) (all []string) {
	t.Helper()
	for _, shared := range []bool{false, true} {
		e.In.Shared = shared
		org, forms := Sections(e.In)
		all = append(all, forms.Heading, org.TenantLinks, org.TenantSummary, org.UsersSummary)
		pages := newIndex(e.In).organization()
		for _, field := range slices.Sorted(maps.Keys(pages)) {
			p := pages[field]
			line, _ := p.cut(OneLine, ninjaone.MaxHTML)
			name, _ := p.cut(NameOnly, ninjaone.MaxHTML)
			all = append(all, line, name)
		}
	}
	devices := NewDevices(e.In)
	for _, d := range e.In.Snapshot.ManagedDevices.Value {
		f := devices.Fields(pairOf(e.In, d.ID))
		all = append(all, f.DeviceLinks, f.DeviceSummary)
	}
	add := func(d Document, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(d.Fields)) {
			if documentPages[name] {
				all = append(all, d.Fields[name].String())
			}
		}
	}
	users := NewUserDocuments(e.In, e.Access)
	for _, id := range users.IDs() {
		add(users.Document(id))
	}
	licences := users.LicenseDocuments(DocumentPages{})
	for _, id := range licences.IDs() {
		add(licences.Document(id))
	}
	return all
}

// shape writes the tree of a value: all of it but the paths of links, and harmless.
func shape(t *testing.T, value string) string {
	t.Helper()
	var b strings.Builder
	for n := range tree(t, value).Descendants() {
		fmt.Fprintf(&b, "%d %s", n.Type, harmless.Replace(n.Data))
		for _, a := range n.Attr {
			if u, err := url.Parse(a.Val); a.Key == "href" && err == nil {
				a.Val = u.Scheme + " " + u.Host
			}
			fmt.Fprintf(&b, " %s=%q", a.Key, a.Val)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// checkHostile composes values with a text, and with what is harmless of it: they
// have the same tree, so that nothing of it left its place. It tells how many values
// hold the text.
func checkHostile(t *testing.T, path, s string) (shown int) {
	t.Helper()
	want := poisoned(path, harmless.Replace(s)).values(t)
	for i, value := range poisoned(path, s).values(t) {
		if value == want[i] { // the text is not in it
			continue
		}
		checkMarkup(t, value)
		if a, b := shape(t, want[i]), shape(t, value); a != b {
			t.Errorf("%s: %q left its place in value %d:\n%s", path, s, i, cmp.Diff(a, b))
		}
		if strings.Contains(value, mark) || strings.Contains(value, url.PathEscape(mark)) {
			shown++
		}
	}
	return shown
}

// TestHostileTextStaysText puts what could end a text or an attribute into each text
// that is read, one after the other.
func TestHostileTextStaysText(t *testing.T) {
	paths, shown := map[string]bool{}, 0
	e := believableEverything()
	each("", reflect.ValueOf(&e).Elem(), func(path, s string) string { paths[path] = true; return s })
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if checkHostile(t, path, script+breaker+quoted) > 0 {
			shown++
		}
	}
	if shown < 100 {
		t.Errorf("%d of %d texts are shown: the tenant lacks what shows the others", shown, len(paths))
	}
	for _, s := range []string{script, breaker, quoted} {
		checkHostile(t, "", s)
	}
	if value := composeAll(t, awkward())["UsersSummary"]; !strings.Contains(plain(t, value), script) {
		t.Error("a name with markup is not shown as it is")
	}
}

func FuzzTextsStayTexts(f *testing.F) {
	for _, s := range []string{"", script, breaker, quoted, "a\u2028b", strings.Repeat("é", 600), "</div></td>", "{{.}}", "https://x.example/<a>", "%3Cscript%3E", "a.onmicrosoft.com", "]]>--><!--", "\x00", "`=`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkHostile(t, "", s) })
}

// TestWhatIsTrusted looks for conversions: safe.go alone may take a text for markup,
// a link or a host of one.
func TestWhatIsTrusted(t *testing.T) {
	files := token.NewFileSet()
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), ".go") || strings.HasSuffix(name.Name(), "_test.go") || name.Name() == "safe.go" {
			continue
		}
		file, err := parser.ParseFile(files, name.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, is := n.(*ast.CallExpr); is {
				if f, is := call.Fun.(*ast.Ident); is && slices.Contains([]string{"literal", "link", "host"}, f.Name) {
					t.Errorf("%s takes a text for a %s", files.Position(n.Pos()), f.Name)
				}
			}
			return true
		})
	}
}
