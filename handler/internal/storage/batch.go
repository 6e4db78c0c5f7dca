package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
)

// Limits of one entity group transaction; the size keeps a distance from the
// service's 4 MiB.
// https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
const (
	maxBatch      = 100
	maxBatchBytes = 3500 << 10
	batchOverhead = 1 << 10 // headers and boundaries of one operation, at most
)

// Operation is one write of WriteBatch.
type Operation struct {
	kind   aztables.TransactionType
	entity Entity
	etag   string // the version that the row must have; "" for any
}

// InsertOp adds a row; the batch fails with ErrExists when it is there.
func InsertOp(e Entity) Operation { return Operation{kind: aztables.TransactionTypeAdd, entity: e} }

// MergeOp writes the given columns of a row and leaves its others. It adds a missing row.
func MergeOp(e Entity) Operation {
	return Operation{kind: aztables.TransactionTypeInsertMerge, entity: e}
}

// ReplaceOp writes a row whole.
func ReplaceOp(e Entity) Operation {
	return Operation{kind: aztables.TransactionTypeInsertReplace, entity: e}
}

// DeleteOp removes a row; a row that is not there is fine.
func DeleteOp(partition, row string) Operation {
	return Operation{kind: aztables.TransactionTypeDelete, entity: Entity{partitionKey: partition, rowKey: row}}
}

// IfMatch lets a merge, replacement or deletion fail the batch unless its row exists in
// the version etag. The error is then ErrConflict or ErrNotFound.
func (o Operation) IfMatch(etag string) Operation {
	o.etag = etag
	switch o.kind {
	case aztables.TransactionTypeInsertMerge:
		o.kind = aztables.TransactionTypeUpdateMerge
	case aztables.TransactionTypeInsertReplace:
		o.kind = aztables.TransactionTypeUpdateReplace
	}
	return o
}

// ReplaceAll writes rows whole, as WriteBatch does.
func (t *Table) ReplaceAll(ctx context.Context, rows []Entity) error {
	ops := make([]Operation, len(rows))
	for i, e := range rows {
		ops[i] = ReplaceOp(e)
	}
	return t.WriteBatch(ctx, ops)
}

// WriteBatch writes rows in as few transactions as the service allows. Each has one
// partition, at most 100 operations and less than 4 MiB. The service writes a transaction
// wholly or not at all. The batch is not atomic: after an error the earlier transactions
// stand. WriteBatch refuses two operations on one row before it writes anything. It keeps
// the order within a partition.
func (t *Table) WriteBatch(ctx context.Context, ops []Operation) error {
	op := t.op("write rows of")
	groups, err := t.group(ops)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for _, group := range groups {
		if err := t.submit(ctx, op, group); err != nil {
			return err
		}
	}
	return nil
}

// group splits operations into transactions.
func (t *Table) group(ops []Operation) ([][]action, error) {
	type open struct{ index, bytes int }
	var groups [][]action
	current := map[string]*open{} // by partition
	seen := map[[2]string]bool{}
	for _, o := range ops {
		body, err := t.encode(o.entity, o.etag)
		if err != nil {
			return nil, err
		}
		pk, rk := o.entity.PartitionKey(), o.entity.RowKey()
		if seen[[2]string{pk, rk}] {
			return nil, errors.New("two operations of one batch are for the same row")
		}
		seen[[2]string{pk, rk}] = true
		a := action{o, body}
		size := len(body) + batchOverhead
		g := current[pk]
		if g == nil || len(groups[g.index]) == maxBatch || g.bytes+size > maxBatchBytes || a.alone() {
			g = &open{index: len(groups)}
			groups = append(groups, nil)
			if !a.alone() {
				current[pk] = g
			} else {
				delete(current, pk)
			}
		}
		groups[g.index] = append(groups[g.index], a)
		g.bytes += size
	}
	return groups, nil
}

type action struct {
	Operation
	body []byte
}

// alone reports whether the SDK cannot put the row into a transaction. It escapes a quote
// in a key in single calls only.
func (a action) alone() bool {
	return strings.Contains(a.entity.PartitionKey()+a.entity.RowKey(), "'")
}

func (t *Table) submit(ctx context.Context, op string, group []action) error {
	if len(group) == 1 {
		return t.single(ctx, group[0])
	}
	actions := make([]aztables.TransactionAction, len(group))
	deletes := false
	for i, a := range group {
		actions[i] = aztables.TransactionAction{ActionType: a.kind, Entity: a.body}
		if a.etag != "" {
			tag := azcore.ETag(a.etag)
			actions[i].IfMatch = &tag
		}
		deletes = deletes || a.kind == aztables.TransactionTypeDelete && a.etag == ""
	}
	err := t.creating(ctx, op, func(ctx context.Context) error {
		_, err := t.client.SubmitTransaction(ctx, actions, nil)
		return err
	})
	if !deletes || !errors.Is(err, ErrNotFound) {
		return err
	}
	// A row was not there, which undid the whole transaction.
	for _, a := range group {
		if err := t.single(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) single(ctx context.Context, a action) error {
	switch a.kind {
	case aztables.TransactionTypeDelete:
		if a.etag != "" {
			return t.deleteIfMatch(ctx, a.entity, a.etag)
		}
		return t.Delete(ctx, a.entity.PartitionKey(), a.entity.RowKey())
	case aztables.TransactionTypeAdd:
		return t.Insert(ctx, a.entity)
	case aztables.TransactionTypeUpdateMerge:
		return t.MergeIfMatch(ctx, a.entity, a.etag)
	case aztables.TransactionTypeUpdateReplace:
		return t.ReplaceIfMatch(ctx, a.entity, a.etag)
	case aztables.TransactionTypeInsertMerge:
		return t.Merge(ctx, a.entity)
	default:
		return t.Replace(ctx, a.entity)
	}
}
