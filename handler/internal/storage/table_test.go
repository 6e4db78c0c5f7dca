package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/fail"
)

func emulator(t *testing.T) *Account {
	t.Helper()
	a, err := Open(env(map[string]string{Own: azuritetest.ForTest(t).ConnectionString()}), Own)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newTable(t *testing.T) *Table {
	t.Helper()
	return emulator(t).Table(azuritetest.UniqueName(t))
}

func row(partition, key string, columns ...any) Entity {
	e := Entity{"PartitionKey": partition, "RowKey": key}
	for i := 0; i < len(columns); i += 2 {
		e[columns[i].(string)] = columns[i+1]
	}
	return e
}

func rows(t *testing.T, table *Table, filter string, columns ...string) []Entity {
	t.Helper()
	var all []Entity
	for e, err := range table.List(t.Context(), filter, columns...) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func keys(all []Entity) []string {
	names := []string{}
	for _, e := range all {
		names = append(names, e.PartitionKey()+"|"+e.RowKey())
	}
	return names
}

var must = fail.If

func wantErr(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want %v", err, kind)
	}
}

func TestMissingTable(t *testing.T) {
	ctx := t.Context()
	table := newTable(t)
	_, err := table.Get(ctx, "p", "r")
	wantErr(t, err, ErrNotFound)
	if got := rows(t, table, ""); len(got) != 0 {
		t.Errorf("it has the rows %v", got)
	}
	must(t, table.Delete(ctx, "p", "r"))
	wantErr(t, table.MergeIfMatch(ctx, row("p", "r"), AnyETag), ErrNotFound)
	wantErr(t, table.ReplaceIfMatch(ctx, row("p", "r"), `W/"1"`), ErrNotFound)

	must(t, newTable(t).Insert(ctx, row("p", "r")))
	must(t, newTable(t).Merge(ctx, row("p", "r")))
	must(t, newTable(t).Replace(ctx, row("p", "r")))
	must(t, newTable(t).ReplaceAll(ctx, []Entity{row("p", "r"), row("p", "s")}))
	must(t, newTable(t).WriteBatch(ctx, []Operation{DeleteOp("p", "r"), DeleteOp("p", "s")}))
}

func TestRowRoundTrip(t *testing.T) {
	ctx := t.Context()
	table := newTable(t)
	at := time.Date(2026, 8, 1, 2, 45, 10, 120e6, time.UTC)
	for _, key := range []string{"plain", "it's", "with space", "a+b%20c", "a|b", "user@fabrikam.example", "ünï", "a&b=c;d,e(f)"} {
		t.Run(key, func(t *testing.T) {
			want := row(key, key, "s", "it's <b>", "i32", int32(4711), "i64", int64(4711), "d", 2.5, "b", true, "t", at, "g", GUID("2f1b0c5e-0000-4000-8000-000000000001"), "bin", []byte{1, 2})
			must(t, table.Replace(ctx, want))
			got, err := table.Get(ctx, key, key)
			must(t, err)
			if got.ETag() == "" || got.Timestamp().IsZero() {
				t.Errorf("version %q, timestamp %v", got.ETag(), got.Timestamp())
			}
			delete(got, timestamp)
			delete(got, etagKey)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			changed := row(key, key, "s", "changed")
			must(t, table.MergeIfMatch(ctx, changed, AnyETag))
			must(t, table.MergeIfMatch(ctx, row(key, key, "b", false), changed.ETag()))
			listed := rows(t, table, And(Eq("PartitionKey", key), Eq("RowKey", key)))
			if len(listed) != 1 || listed[0].String("s") != "changed" || listed[0].Int("i64") != 4711 || listed[0].ETag() == "" {
				t.Errorf("listed %v", listed)
			}
			must(t, table.Delete(ctx, key, key))
			_, err = table.Get(ctx, key, key)
			wantErr(t, err, ErrNotFound)
			must(t, table.Delete(ctx, key, key))
		})
	}
}

func TestWrites(t *testing.T) {
	ctx := t.Context()
	table := newTable(t)
	must(t, table.Insert(ctx, row("p", "r", "a", "1", "b", "1")))
	wantErr(t, table.Insert(ctx, row("p", "r")), ErrExists)
	must(t, table.Merge(ctx, row("p", "r", "b", "2")))
	first, err := table.Get(ctx, "p", "r")
	must(t, err)
	if first.String("a") != "1" || first.String("b") != "2" {
		t.Errorf("after a merge the row is %v", first)
	}
	must(t, table.ReplaceIfMatch(ctx, row("p", "r", "b", "3"), first.ETag()))
	second, err := table.Get(ctx, "p", "r")
	must(t, err)
	if second.Has("a") || second.String("b") != "3" {
		t.Errorf("after a replacement the row is %v", second)
	}
	wantErr(t, table.ReplaceIfMatch(ctx, row("p", "r"), first.ETag()), ErrConflict)
	wantErr(t, table.MergeIfMatch(ctx, row("p", "r"), first.ETag()), ErrConflict)
	wantErr(t, table.MergeIfMatch(ctx, row("p", "gone"), AnyETag), ErrNotFound)
	if err := table.MergeIfMatch(ctx, row("p", "r"), ""); err == nil {
		t.Error("an update without a version was accepted")
	}
	must(t, table.Replace(ctx, row("p", "r", "c", "4")))
	if got := rows(t, table, ""); len(got) != 1 || got[0].Has("b") {
		t.Errorf("rows are %v", got)
	}
}

func TestList(t *testing.T) {
	ctx := t.Context()
	table := newTable(t)
	var all []Entity
	for i := range 1203 {
		all = append(all, row("p", fmt.Sprintf("%04d", i), "n", i, "odd", i%2 == 1, "s", "x"))
	}
	all = append(all, row("q", "0001", "n", 1, "when", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	must(t, table.ReplaceAll(ctx, all))
	if got := rows(t, table, Eq("PartitionKey", "p")); len(got) != 1203 || got[1202].RowKey() != "1202" {
		t.Errorf("%d rows over several pages", len(got))
	}
	for name, tt := range map[string]struct {
		filter string
		want   []string
	}{
		"range":   {And(Eq("PartitionKey", "p"), Ge("RowKey", "0003"), Lt("RowKey", "0005")), []string{"p|0003", "p|0004"}},
		"or":      {And(Or(Eq("RowKey", "0001"), Eq("RowKey", "0002")), Eq("odd", true)), []string{"p|0001"}},
		"int":     {And(Eq("PartitionKey", "p"), Eq("n", 7)), []string{"p|0007"}},
		"time":    {Eq("when", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), []string{"q|0001"}},
		"nothing": {Eq("PartitionKey", "it's' or PartitionKey ne '"), []string{}},
	} {
		if diff := cmp.Diff(tt.want, keys(rows(t, table, tt.filter))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	got := rows(t, table, And(Eq("PartitionKey", "p"), Lt("RowKey", "0002")), "n", "nowhere")
	if len(got) != 2 || got[1].Int("n") != 1 || got[1].Has("s") || got[1].Has("nowhere") || got[1].RowKey() != "0001" {
		t.Errorf("selected columns gave %v", got)
	}
	for e, err := range table.List(ctx, "") {
		if err != nil || e.RowKey() != "0000" {
			t.Errorf("first row is %v, %v", e, err)
		}
		break
	}
	for _, err := range table.List(ctx, "startswith(RowKey,'1')") {
		if err == nil || !strings.Contains(err.Error(), "list rows of table") {
			t.Errorf("a filter the service does not know gave %v", err)
		}
	}
}

func TestWriteBatch(t *testing.T) {
	ctx := t.Context()
	table := newTable(t)
	must(t, table.WriteBatch(ctx, nil))
	must(t, table.ReplaceAll(ctx, []Entity{row("p", "old", "a", "1"), row("p", "merged", "a", "1"), row("p", "gone")}))
	var ops []Operation
	for i := range 250 {
		ops = append(ops, ReplaceOp(row([]string{"p", "q"}[i%2], fmt.Sprintf("k %03d|+%%", i), "n", i)))
	}
	ops = append(ops, ReplaceOp(row("o'neil", "r")), ReplaceOp(row("p", "o'neil")), InsertOp(row("p", "new")),
		MergeOp(row("p", "merged", "b", "2")), ReplaceOp(row("p", "old", "b", "2")), DeleteOp("p", "gone"), DeleteOp("p", "never"))
	must(t, table.WriteBatch(ctx, ops))
	if got := rows(t, table, ""); len(got) != 255 {
		t.Errorf("%d rows", len(got))
	}
	merged, err := table.Get(ctx, "p", "merged")
	must(t, err)
	old, err := table.Get(ctx, "p", "old")
	must(t, err)
	if merged.String("a")+merged.String("b") != "12" || old.String("a")+old.String("b") != "2" {
		t.Errorf("merged row %v, replaced row %v", merged, old)
	}
	if _, err := table.Get(ctx, "p", "o'neil"); err != nil {
		t.Error(err)
	}
	if _, err := table.Get(ctx, "o'neil", "r"); err != nil {
		t.Error(err)
	}

	err = table.WriteBatch(ctx, []Operation{ReplaceOp(row("p", "twice")), DeleteOp("p", "twice")})
	if err == nil || !strings.Contains(err.Error(), "same row") {
		t.Errorf("a row twice gave %v", err)
	}
	err = table.WriteBatch(ctx, []Operation{ReplaceOp(row("p", "undone")), InsertOp(row("p", "new"))})
	wantErr(t, err, ErrExists)
	_, err = table.Get(ctx, "p", "undone")
	wantErr(t, err, ErrNotFound)
}

// TestRowsSayWhichVersionWroteThem writes in every way. A row that is merged by AnyETag may
// be of a newer version, and keeps it.
func TestRowsSayWhichVersionWroteThem(t *testing.T) {
	table, ctx := emulator(t).Upto(3).Table(azuritetest.UniqueName(t)), t.Context()
	seen := row("p", "inserted")
	must(t, table.Insert(ctx, seen))
	must(t, table.MergeIfMatch(ctx, row("p", "inserted", "s", "merged"), seen.ETag()))
	must(t, table.Merge(ctx, row("p", "merged")))
	must(t, table.Replace(ctx, row("p", "replaced")))
	must(t, table.WriteBatch(ctx, []Operation{MergeOp(row("p", "one of two")), InsertOp(row("p", "the other")), DeleteOp("p", "none")}))
	for _, e := range rows(t, table, "") {
		if e.Int("Version") != 3 {
			t.Errorf("the row is %v, want version 3", e)
		}
	}
	must(t, table.Replace(ctx, row("p", "newer", "Version", int32(4))))
	must(t, table.MergeIfMatch(ctx, row("p", "newer", "s", "merged"), AnyETag))
	if _, err := table.Get(ctx, "p", "newer"); !errors.Is(err, ErrNewer) {
		t.Errorf("the row of a newer version gave %v", err)
	}
}

// TestBatchLimits checks the limits in the grouping itself, because the
// emulator keeps neither.
func TestBatchLimits(t *testing.T) {
	table := newTable(t)
	var ops []Operation
	for i := range 120 {
		ops = append(ops, ReplaceOp(row("many", fmt.Sprint(i))))
	}
	for i := range 10 {
		ops = append(ops, ReplaceOp(row("large", fmt.Sprint(i), "s", strings.Repeat("x", 1<<20))))
	}
	groups, err := table.group(ops)
	must(t, err)
	var sizes []int
	for _, g := range groups {
		partition, bytes := g[0].entity.PartitionKey(), 0
		for _, a := range g {
			bytes += len(a.body)
			if a.entity.PartitionKey() != partition {
				t.Error("two partitions in one transaction")
			}
		}
		if bytes >= 4<<20 {
			t.Errorf("a transaction of %d bytes", bytes)
		}
		sizes = append(sizes, len(g))
	}
	if want := []int{100, 20, 3, 3, 3, 1}; !slices.Equal(sizes, want) {
		t.Errorf("transactions of %v operations, want %v", sizes, want)
	}
	must(t, table.WriteBatch(t.Context(), ops[:120]))
}

func TestErrorsAreOneClearLine(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"odata.error":{"code":"AuthorizationPermissionMismatch","message":{"lang":"en-US","value":"no"}}}`))
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	a, err := Open(env(map[string]string{Own: "AccountName=fabrikam;AccountKey=" + secretKey + ";TableEndpoint=" + server.URL + "/fabrikam"}), Own)
	must(t, err)
	_, err = a.Table("CippLogs").Get(t.Context(), "p", "r")
	want := "read a row of table CippLogs: storage answered 403 AuthorizationPermissionMismatch (the app's identity lacks a data role on the storage account, such as Storage Table Data Contributor)"
	if err == nil || err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}

	cause := &url.Error{Op: "Get", URL: "https://fabrikam.table.core.windows.net/T?sig=secret", Err: context.DeadlineExceeded}
	err = wrap(fmt.Errorf("transport: %w", cause), "list rows")
	if err.Error() != "list rows: context deadline exceeded" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %q", err)
	}
	if hint := hintOf(409, "TableBeingDeleted"); !strings.Contains(hint, "try again") {
		t.Errorf("hint for a table being deleted is %q", hint)
	}
}
