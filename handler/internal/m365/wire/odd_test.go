package wire

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/reply/replytest"
)

// kinds are all types of this package that answers are decoded into.
var kinds = map[string]func(*testing.T){
	"Organization": odd[Organization], "Domain": odd[Domain], "SKU": odd[SKU], "Units": odd[Units],
	"Subscription": odd[Subscription], "User": odd[User], "AssignedLicense": odd[AssignedLicense],
	"AssignmentState": odd[AssignmentState], "SignInActivity": odd[SignInActivity], "Device": odd[Device],
	"DeltaObject": odd[DeltaObject], "Member": odd[Member], "Removed": odd[Removed],
	"ManagedDevice": odd[ManagedDevice], "LoggedOn": odd[LoggedOn], "Hardware": odd[Hardware],
	"PolicyState": odd[PolicyState], "SettingState": odd[SettingState],
	"ConditionalAccessPolicy": odd[ConditionalAccessPolicy], "Guests": odd[Guests], "AuthorizationPolicy": odd[AuthorizationPolicy],
	"SecureScore": odd[SecureScore], "ControlScore": odd[ControlScore], "ScoreProfile": odd[ScoreProfile],
	"Mailbox": odd[Mailbox], "CASMailbox": odd[CASMailbox], "AuditConfig": odd[AuditConfig], "BlockedSender": odd[BlockedSender],
	"ReportSettings": odd[ReportSettings], "ChangeSubscription": odd[ChangeSubscription], "BatchResponse": odd[BatchResponse],
	"ServiceError": odd[ServiceError], "ErrorDetail": odd[ErrorDetail], "Token": odd[Token], "Vulnerability": odd[Vulnerability], "Notification": odd[Notification], "Claims": odd[Claims],
}

// TestOneOddValue puts a value of another type into each place of a record of
// each type, and expects what null in that place gives: all else stays, and the
// records beside it do.
func TestOneOddValue(t *testing.T) {
	for name, test := range kinds {
		t.Run(name, test)
	}
}

// TestEveryTypeIsHeld finds the types that answers are decoded into in the
// source, so that none is left out above.
func TestEveryTypeIsHeld(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(syntax, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			body, ok := spec.Type.(*ast.StructType)
			if ok && slices.ContainsFunc(body.Fields.List, func(f *ast.Field) bool { return f.Tag != nil }) && kinds[spec.Name.Name] == nil && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s is not among the types above", spec.Name.Name)
			}
			return true
		})
	}
}

func odd[T any](t *testing.T) {
	record, err := json.Marshal(sample(t, reflect.TypeFor[T](), "sample"))
	if err != nil {
		t.Fatal(err)
	}
	decode := func(middle json.RawMessage) Page[T] {
		t.Helper()
		p, err := DecodePage[T](strings.NewReader(`{"value":[`+string(record)+`,`+string(middle)+`,`+string(record)+`]}`), "value")
		if err != nil {
			t.Fatalf("%s: %v", middle, err)
		}
		p.Size = 0 // of the text, which differs
		return p
	}
	whole := decode(record)
	if reflect.ValueOf(whole.Items[1]).IsZero() {
		t.Fatal("the sample decodes to nothing")
	}
	n := 0
	for m := range replytest.Mutations(record) {
		n++
		got, want := decode(m.Odd), decode(m.Absent)
		last := len(got.Items) - 1
		if last < 1 || !reflect.DeepEqual(got.Items[0], whole.Items[0]) || !reflect.DeepEqual(got.Items[last], whole.Items[0]) {
			t.Errorf("%s: the records beside it changed", m.Path)
		}
		if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" && !takenAsText(m.Path, record) {
			t.Errorf("%s (-null +odd):\n%s", m.Path, diff)
		}
	}
	if n == 0 {
		t.Error("nothing was mutated")
	}
}

// The samples of Text, which takes every scalar, and of what is kept as it is.
const (
	anyScalar = "any scalar"
	anything  = "anything"
)

func takenAsText(path string, record json.RawMessage) bool {
	place, value, _ := strings.Cut(path, " = ")
	var v any
	_ = json.Unmarshal(record, &v)
	for _, step := range strings.Split(place, "/")[1:] {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			v = in[step[0]-'0']
		}
	}
	return v == anything || v == anyScalar && !strings.ContainsAny(value[:1], "{[")
}

// sample makes a JSON value that fills a type.
func sample(t *testing.T, of reflect.Type, name string) any {
	t.Helper()
	switch {
	case of == reflect.TypeFor[Time]():
		return "2026-11-20T00:00:00Z"
	case of == reflect.TypeFor[Text]():
		return anyScalar
	case of == reflect.TypeFor[json.RawMessage]():
		return anything
	case of == reflect.TypeFor[Count](), of == reflect.TypeFor[AssignedLicenses](), strings.HasPrefix(of.Name(), "Optional["):
		return sample(t, of.Field(0).Type, name)
	}
	switch of.Kind() {
	case reflect.String:
		return "a " + name
	case reflect.Bool:
		return true
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64:
		return 7
	case reflect.Map:
		return map[string]any{"key": sample(t, of.Elem(), name)}
	case reflect.Struct:
		out := map[string]any{}
		for i := range of.NumField() {
			f := of.Field(i)
			switch key, _, _ := strings.Cut(f.Tag.Get("json"), ","); {
			case key == "" && f.Anonymous:
				maps.Copy(out, sample(t, f.Type, f.Name).(map[string]any))
			case key == "":
				t.Fatalf("%s.%s has no name on the wire", of, f.Name)
			case key != "-":
				out[key] = sample(t, f.Type, key)
			}
		}
		return out
	case reflect.Slice:
		if !strings.HasPrefix(of.Name(), "List[") {
			t.Fatalf("%s of %s is not a reply.List: an odd element would stay", of, name)
		}
		return []any{sample(t, of.Elem(), name), sample(t, of.Elem(), name)}
	}
	t.Fatalf("%s of %s cannot pass over odd values; use reply.Optional or reply.List", of, name)
	return nil
}

// FuzzOneOddValue puts any JSON value into any place of a user and a device.
func FuzzOneOddValue(f *testing.F) {
	user, device := []byte(`{"id":"1","businessPhones":["1"],"assignedLicenses":[{"skuId":"s"}]}`),
		[]byte(`{"id":"1","serialNumber":"S","usersLoggedOn":[{"userId":"u"}],"hardwareInformation":{"serialNumber":"S"}}`)
	f.Add("id", []byte(`7`))
	f.Add("serialNumber", []byte(`12345678`))
	f.Add("usersLoggedOn", []byte(`{}`))
	f.Add("assignedLicenses", []byte(`[{"skuId":[]},null,5]`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		if !json.Valid(value) {
			return
		}
		for _, record := range [][]byte{user, device} {
			fields := map[string]json.RawMessage{}
			if err := reply.Unmarshal(record, &fields); err != nil {
				t.Fatal(err)
			}
			fields[name] = value
			mutated, err := json.Marshal(fields)
			if err != nil {
				return // the name or the value is nested too deep
			}
			page := `{"value":[` + string(record) + `,` + string(mutated) + `,` + string(record) + `]}`
			users, err := DecodePage[User](strings.NewReader(page), "value")
			if err != nil || len(users.Items)+users.Odd != 3 || !reflect.DeepEqual(users.Items[0], users.Items[len(users.Items)-1]) {
				t.Errorf("%d users, %v", len(users.Items), err)
			}
			devices, err := DecodePage[ManagedDevice](strings.NewReader(page), "value")
			if err != nil || len(devices.Items)+devices.Odd != 3 || !reflect.DeepEqual(devices.Items[0], devices.Items[len(devices.Items)-1]) {
				t.Errorf("%d devices, %v", len(devices.Items), err)
			}
		}
	})
}
