package cipp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"cipp-ninjaone/handler/internal/storage"
)

// CIPP splits what is too large for Azure Tables in two ways, one entity perhaps in both.
// A long text P becomes the columns P_Part0, P_Part1, …, listed in the column
// SplitOverProps. A large entity K becomes the rows K, K-part1, K-part2, …, each with
// OriginalEntityId = K and its PartIndex.
const (
	splitMark    = "SplitOverProps"
	originalMark = "OriginalEntityId"
	indexMark    = "PartIndex"
)

const (
	// maxChunk is the length of one column in UTF-16 units, which Azure limits
	// to 32 Ki.
	maxChunk = 32256
	// maxRow and maxColumns keep a distance from Azure's 1 MiB and 252.
	maxRow     = 900 << 10
	maxColumns = 240
	// staleAfter is how much older than its first row a part may be. CIPP's
	// writers run ten minutes at most, so an older part is left from an
	// earlier, larger version.
	staleAfter = 10 * time.Minute
)

// splitProperty is one entry of SplitOverProps.
type splitProperty struct {
	OriginalHeader string
	SplitHeaders   []string
}

// UnmarshalJSON accepts a single chunk as text in place of an array.
func (p *splitProperty) UnmarshalJSON(data []byte) error {
	var raw struct {
		OriginalHeader string
		SplitHeaders   json.RawMessage
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	p.OriginalHeader = raw.OriginalHeader
	headers, err := oneOrMany[string](raw.SplitHeaders)
	p.SplitHeaders = headers
	return err
}

// oneOrMany reads a JSON array whose single element PowerShell may have
// unwrapped.
func oneOrMany[T any](data []byte) ([]T, error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || bytes.Equal(data, []byte("null")):
		return nil, nil
	case data[0] == '[':
		var many []T
		err := json.Unmarshal(data, &many)
		return many, err
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return nil, err
	}
	return []T{one}, nil
}

// join puts the rows of one split entity together. It returns nil without the first row:
// the rest are left from an earlier version.
func join(parts []storage.Entity) (storage.Entity, error) {
	slices.SortStableFunc(parts, func(a, b storage.Entity) int { return cmp.Compare(a.Int(indexMark), b.Int(indexMark)) })
	first := slices.IndexFunc(parts, func(e storage.Entity) bool {
		return e.Int(indexMark) == 0 && e.RowKey() == e.String(originalMark)
	})
	if first < 0 {
		return nil, nil
	}
	joined := maps.Clone(parts[first])
	next := int64(1)
	for _, part := range parts {
		if part.Int(indexMark) != next {
			continue // the first row, a second row of one index, or beyond a gap
		}
		if joined.Timestamp().Sub(part.Timestamp()) > staleAfter {
			break
		}
		for name, value := range part {
			if !joined.Has(name) {
				joined[name] = value
			}
		}
		next++
	}
	delete(joined, originalMark)
	delete(joined, indexMark)
	return joinColumns(joined)
}

// joinColumns joins the split columns of a row.
func joinColumns(e storage.Entity) (storage.Entity, error) {
	if !e.Has(splitMark) {
		return e, nil
	}
	properties, err := oneOrMany[splitProperty]([]byte(e.String(splitMark)))
	if err != nil {
		return nil, fmt.Errorf("the column %s holds no list of split columns", splitMark)
	}
	e = maps.Clone(e)
	delete(e, splitMark)
	for _, p := range properties {
		var text strings.Builder
		for _, header := range p.SplitHeaders {
			if !e.Has(header) {
				return nil, fmt.Errorf("the text of column %s is incomplete: %s is missing", p.OriginalHeader, header)
			}
			text.WriteString(e.String(header))
			delete(e, header)
		}
		e[p.OriginalHeader] = text.String()
	}
	return e, nil
}

// rows reads the entities that a filter selects, and puts split ones together. It logs
// and leaves out an entity that it cannot put together. Rows that are not split come one
// page of the service at a time. The others come at the end of their partition.
func (s *Store) rows(ctx context.Context, table, filter string) iter.Seq2[storage.Entity, error] {
	return joinAll(s.table(table).List(ctx, filter), func(e storage.Entity, err error) {
		s.deps.Log.WarnContext(ctx, "an entity of CIPP's table cannot be put together and is left out",
			"table", table, "row", e.RowKey(), "error", err)
	})
}

func joinAll(list iter.Seq2[storage.Entity, error], broken func(storage.Entity, error)) iter.Seq2[storage.Entity, error] {
	return func(yield func(storage.Entity, error) bool) {
		partition := ""
		split := map[string][]storage.Entity{}
		give := func(e storage.Entity, err error, source storage.Entity) bool {
			if err != nil {
				broken(source, err)
				return true
			}
			return e == nil || yield(e, nil)
		}
		flush := func() bool {
			for _, original := range slices.Sorted(maps.Keys(split)) {
				parts := split[original]
				e, err := join(parts)
				if !give(e, err, parts[0]) {
					return false
				}
			}
			clear(split)
			return true
		}
		for e, err := range list {
			if err != nil {
				yield(nil, err)
				return
			}
			if e.PartitionKey() != partition {
				if !flush() {
					return
				}
				partition = e.PartitionKey()
			}
			if original := e.String(originalMark); original != "" {
				split[original] = append(split[original], e)
				continue
			}
			whole, err := joinColumns(e)
			if !give(whole, err, e) {
				return
			}
		}
		flush()
	}
}

// split spreads an entity over columns and rows as CIPP's present writer does.
func split(e storage.Entity) ([]storage.Entity, error) {
	e = maps.Clone(e)
	for _, mark := range []string{splitMark, originalMark, indexMark} {
		if e.Has(mark) {
			return nil, fmt.Errorf("the row already has the column %s", mark)
		}
	}
	if err := splitColumns(e); err != nil {
		return nil, err
	}
	fixed := 4 + columnSize("PartitionKey", e.PartitionKey()) + columnSize("RowKey", e.RowKey()) +
		columnSize(originalMark, e.RowKey()) + columnSize(indexMark, 0) + 2*len("-part000")
	var rows []storage.Entity
	size := 0
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if name == "PartitionKey" || name == "RowKey" {
			continue
		}
		column := columnSize(name, e[name])
		if len(rows) == 0 || size+column > maxRow || len(rows[len(rows)-1]) == maxColumns {
			rows = append(rows, storage.Entity{"PartitionKey": e.PartitionKey(), "RowKey": e.RowKey()})
			size = fixed
		}
		rows[len(rows)-1][name] = e[name]
		size += column
	}
	if len(rows) <= 1 {
		return []storage.Entity{e}, nil
	}
	for i, row := range rows {
		if i > 0 {
			row["RowKey"] = e.RowKey() + "-part" + strconv.Itoa(i)
		}
		row[originalMark] = e.RowKey()
		row[indexMark] = int32(i)
	}
	return rows, nil
}

// splitColumns replaces the long texts of e by chunks and lists them.
func splitColumns(e storage.Entity) error {
	var properties []splitProperty
	for _, name := range slices.Sorted(maps.Keys(e)) {
		text, ok := e[name].(string)
		if !ok {
			continue
		}
		chunks := chunk(text)
		if len(chunks) == 1 {
			continue
		}
		p := splitProperty{OriginalHeader: name}
		for i, c := range chunks {
			header := name + "_Part" + strconv.Itoa(i)
			if e.Has(header) {
				return fmt.Errorf("the row has a column %s, which splitting the column %s needs", header, name)
			}
			e[header] = c
			p.SplitHeaders = append(p.SplitHeaders, header)
		}
		delete(e, name)
		properties = append(properties, p)
	}
	if properties == nil {
		return nil
	}
	manifest, err := json.Marshal(properties)
	e[splitMark] = string(manifest)
	return err
}

// chunk cuts a text into pieces of at most maxChunk UTF-16 units, never inside
// a character.
func chunk(text string) []string {
	var chunks []string
	start, units := 0, 0
	for i, r := range text {
		n := utf16.RuneLen(r)
		if units+n > maxChunk {
			chunks = append(chunks, text[start:i])
			start, units = i, 0
		}
		units += n
	}
	return append(chunks, text[start:])
}

// columnSize is what Azure counts for a column, in bytes, rounded up.
// https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
func columnSize(name string, value any) int {
	size := 8 + 2*len(name) + 16
	switch v := value.(type) {
	case string:
		size += 4
		for _, r := range v {
			size += 2 * utf16.RuneLen(r)
		}
	case []byte:
		size += len(v)
	}
	return size
}

// put writes an entity whole, split as needed. It removes the rows that an earlier,
// larger version of it left. The entity must still have the version etag, or not exist
// where that is "". Else put writes nothing and returns storage's ErrConflict,
// ErrNotFound or ErrExists.
func (s *Store) put(ctx context.Context, table string, e storage.Entity, etag string) error {
	rows, err := split(e)
	if err != nil {
		return fmt.Errorf("write %s of CIPP's table %s: %w", e.RowKey(), table, err)
	}
	// The first row decides who may write. Should the others fail to follow,
	// readers see that the remaining parts are older.
	if etag == "" {
		err = s.table(table).Insert(ctx, rows[0])
	} else {
		err = s.table(table).ReplaceIfMatch(ctx, rows[0], etag)
	}
	if err != nil {
		return err
	}
	var ops []storage.Operation
	for _, row := range rows[1:] {
		ops = append(ops, storage.ReplaceOp(row))
	}
	leftovers, err := s.leftovers(ctx, table, rows)
	if err != nil {
		return err
	}
	return s.write(ctx, table, append(ops, leftovers...))
}

// leftovers are the operations that remove the rows which an earlier, larger version of
// an entity left.
func (s *Store) leftovers(ctx context.Context, table string, rows []storage.Entity) ([]storage.Operation, error) {
	written := map[string]bool{}
	for _, row := range rows {
		written[row.RowKey()] = true
	}
	key := rows[0].RowKey()
	filter := storage.And(
		storage.Eq("PartitionKey", rows[0].PartitionKey()),
		storage.Ge("RowKey", key+"-part"), storage.Lt("RowKey", key+"-part:"), // ":" is the character after "9"
		storage.Eq(originalMark, key))
	var ops []storage.Operation
	for row, err := range s.table(table).List(ctx, filter, originalMark) {
		if err != nil {
			return nil, fmt.Errorf("look for old parts of %s in CIPP's table %s: %w", key, table, err)
		}
		if !written[row.RowKey()] {
			ops = append(ops, storage.DeleteOp(row.PartitionKey(), row.RowKey()))
		}
	}
	return ops, nil
}

// add writes an entity whose key is new, so that nothing can be left over.
func (s *Store) add(ctx context.Context, table string, e storage.Entity) error {
	rows, err := split(e)
	if err != nil {
		return fmt.Errorf("write %s of CIPP's table %s: %w", e.RowKey(), table, err)
	}
	return s.table(table).ReplaceAll(ctx, rows)
}

func (s *Store) write(ctx context.Context, table string, ops []storage.Operation) error {
	return storage.Doing(s.table(table).WriteBatch(ctx, ops), "write to CIPP's table %s", table)
}
