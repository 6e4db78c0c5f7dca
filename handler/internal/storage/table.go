package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
)

// Table is one table. It is safe for concurrent use.
// https://learn.microsoft.com/rest/api/storageservices/table-service-rest-api
type Table struct {
	name   string
	client *aztables.Client
	newest int64 // highest Version of a row that may be read, and that of rows written; 0 for none
}

// columnVersion (int32) of a row is the version of the program that wrote it.
const columnVersion = "Version"

// Upto returns the account for a program that knows rows up to a version. It writes the
// version into the column Version of each row, but for one that it merges by AnyETag. It does not read a row of a higher version: ErrNewer.
func (a *Account) Upto(version int) *Account {
	limited := *a
	limited.newest = int64(version)
	return &limited
}

// known refuses a row that a newer program wrote.
func (t *Table) known(e Entity) error {
	if t.newest > 0 && e.Int(columnVersion) > t.newest {
		return fmt.Errorf("row %s of version %d: %w", e.RowKey(), e.Int(columnVersion), ErrNewer)
	}
	return nil
}

// encode encodes a row to be written. One that says its version keeps it.
func (t *Table) encode(e Entity, etag string) ([]byte, error) {
	if t.newest > 0 && etag != AnyETag && !e.Has(columnVersion) {
		e[columnVersion] = int32(t.newest)
	}
	return e.encode()
}

// Table returns the client of a table, which need not exist.
func (a *Account) Table(name string) *Table {
	return &Table{name: name, client: a.tables.NewClient(name), newest: a.newest}
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

func (t *Table) op(what string) string { return what + " table " + t.name }

// Get reads one row. A missing row, and a missing table, is ErrNotFound.
func (t *Table) Get(ctx context.Context, partition, row string) (Entity, error) {
	op := t.op("read a row of")
	if err := (Entity{partitionKey: partition, rowKey: row}).checkKeys(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	resp, err := t.client.GetEntity(ctx, partition, row, nil)
	if err != nil {
		return nil, wrap(err, op)
	}
	e, err := decodeEntity(resp.Value)
	if err == nil {
		err = t.known(e)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	e[etagKey] = string(resp.ETag)
	return e, nil
}

// Find is Get of a row that need not be there: a missing row, and a missing table, is nil.
func (t *Table) Find(ctx context.Context, partition, row string) (Entity, error) {
	e, err := t.Get(ctx, partition, row)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return e, err
}

// List reads the rows that a filter selects, by partition key and row key. It reads one
// page of the service at a time. With columns, it reads only those and the keys. A
// missing table has no rows. The sequence ends after an error.
func (t *Table) List(ctx context.Context, filter string, columns ...string) iter.Seq2[Entity, error] {
	return func(yield func(Entity, error) bool) {
		op := t.op("list rows of")
		o := &aztables.ListEntitiesOptions{}
		if filter != "" {
			o.Filter = &filter
		}
		if len(columns) > 0 {
			always := []string{partitionKey, rowKey, timestamp}
			if t.newest > 0 {
				always = append(always, columnVersion)
			}
			selected := strings.Join(append(always, columns...), ",")
			o.Select = &selected
		}
		for pager := t.client.NewListEntitiesPager(o); pager.More(); {
			page, err := pager.NextPage(ctx)
			if codeOf(err) == string(aztables.TableNotFound) {
				return
			}
			if err != nil {
				yield(nil, wrap(err, op))
				return
			}
			for _, raw := range page.Entities {
				e, err := decodeEntity(raw)
				if err == nil {
					err = t.known(e)
				}
				if err != nil {
					yield(nil, fmt.Errorf("%s: %w", op, err))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// ReadPartition reads the rows of a partition, and returns what of makes of each, by row
// key.
func ReadPartition[V any](ctx context.Context, t *Table, partition string, of func(Entity) V) (map[string]V, error) {
	all := map[string]V{}
	for row, err := range t.List(ctx, Eq(partitionKey, partition)) {
		if err != nil {
			return nil, err
		}
		all[row.RowKey()] = of(row)
	}
	return all, nil
}

// Insert adds a row, and sets its ETag in e; ErrExists when there is one with
// its keys.
func (t *Table) Insert(ctx context.Context, e Entity) error {
	return t.write(ctx, e, "insert a row into", func(ctx context.Context, body []byte) error {
		resp, err := t.client.AddEntity(ctx, body, nil)
		if err == nil {
			e[etagKey] = string(resp.ETag)
		}
		return err
	})
}

// Merge writes the given columns of a row and leaves its others. It adds a missing row.
func (t *Table) Merge(ctx context.Context, e Entity) error {
	return t.upsert(ctx, e, aztables.UpdateModeMerge)
}

// Replace writes a row whole: columns that are not given are gone.
func (t *Table) Replace(ctx context.Context, e Entity) error {
	return t.upsert(ctx, e, aztables.UpdateModeReplace)
}

func (t *Table) upsert(ctx context.Context, e Entity, mode aztables.UpdateMode) error {
	return t.write(ctx, e, "write a row of", func(ctx context.Context, body []byte) error {
		_, err := t.client.UpsertEntity(ctx, body, &aztables.UpsertEntityOptions{UpdateMode: mode})
		return err
	})
}

// MergeIfMatch writes the given columns of a row whose version is etag, or any
// with AnyETag. It sets the new ETag in e. It never adds a row: a missing row or
// table is ErrNotFound, another version ErrConflict.
func (t *Table) MergeIfMatch(ctx context.Context, e Entity, etag string) error {
	return t.update(ctx, e, etag, aztables.UpdateModeMerge)
}

// ReplaceIfMatch is MergeIfMatch, but writes the row whole.
func (t *Table) ReplaceIfMatch(ctx context.Context, e Entity, etag string) error {
	return t.update(ctx, e, etag, aztables.UpdateModeReplace)
}

func (t *Table) update(ctx context.Context, e Entity, etag string, mode aztables.UpdateMode) error {
	op := t.op("update a row of")
	body, err := t.encode(e, etag)
	if err == nil && etag == "" {
		err = errors.New("no version is given that the row must have")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	tag := azcore.ETag(etag)
	resp, err := t.client.UpdateEntity(ctx, body, &aztables.UpdateEntityOptions{IfMatch: &tag, UpdateMode: mode})
	if err != nil {
		return wrap(err, op)
	}
	e[etagKey] = string(resp.ETag)
	return nil
}

// Delete removes a row; a row that is not there is fine.
func (t *Table) Delete(ctx context.Context, partition, row string) error {
	op := t.op("delete a row of")
	if err := (Entity{partitionKey: partition, rowKey: row}).checkKeys(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	_, err := t.client.DeleteEntity(ctx, partition, row, nil)
	if err = wrap(err, op); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (t *Table) deleteIfMatch(ctx context.Context, e Entity, etag string) error {
	tag := azcore.ETag(etag)
	_, err := t.client.DeleteEntity(ctx, e.PartitionKey(), e.RowKey(), &aztables.DeleteEntityOptions{IfMatch: &tag})
	return wrap(err, t.op("delete a row of"))
}

func (t *Table) write(ctx context.Context, e Entity, what string, do func(context.Context, []byte) error) error {
	op := t.op(what)
	body, err := t.encode(e, "")
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return t.creating(ctx, op, func(ctx context.Context) error { return do(ctx, body) })
}

func (t *Table) creating(ctx context.Context, op string, write func(context.Context) error) error {
	return creating(ctx, string(aztables.TableNotFound), op, t.client.CreateTable, write)
}

// Eq is the filter that selects rows whose column equals the value: a string, bool, int
// or time.Time. It quotes values as the service wants it.
func Eq(column string, value any) string { return column + " eq " + literal(value) }

// Ge selects rows whose column is the value or sorts after it.
func Ge(column string, value any) string { return column + " ge " + literal(value) }

// Lt selects rows whose column sorts before the value.
func Lt(column string, value any) string { return column + " lt " + literal(value) }

// And selects rows that every one of the filters selects.
func And(filters ...string) string { return "(" + strings.Join(filters, ") and (") + ")" }

// Or selects rows that any of the filters selects.
func Or(filters ...string) string { return "(" + strings.Join(filters, ") or (") + ")" }

func literal(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case time.Time:
		return "datetime'" + v.UTC().Format(edmTime) + "'"
	}
	return "'" + strings.ReplaceAll(fmt.Sprint(value), "'", "''") + "'"
}
