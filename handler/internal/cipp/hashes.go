package cipp

import (
	"context"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/storage"
)

// hashColumns are the columns by which CIPP's own engine skips what it believes that
// NinjaOne still shows. It does so for up to seven days, or until a document changes.
// This package only removes them; a merge leaves them as they are.
var hashColumns = map[string][]string{
	tableDeviceMap:  {"FieldsHash", "FieldsTime", "RelationsKey", "RelationsTime"},
	tableUserMap:    {"FieldHashes", "InputHash", "DocUpdateTime"},
	tableLicenseMap: {"DocHash", "DocUpdateTime", "HashTime"},
}

// hashRows is how many rows one transaction takes.
const hashRows = 100

// ForgetHashes removes the columns by which CIPP's own engine skips what it believes
// unchanged. The engine's next sync then puts right what this app wrote. It removes no
// row. It goes on past rows that somebody changes meanwhile, and says so in the error.
func (s *Store) ForgetHashes(ctx context.Context) error {
	var errs []error
	for _, table := range []string{tableDeviceMap, tableUserMap, tableLicenseMap} {
		if err := s.forgetHashes(ctx, table); err != nil {
			errs = append(errs, fmt.Errorf("remove what CIPP's own NinjaOne sync keeps of unchanged rows in table %s: %w", table, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) forgetHashes(ctx context.Context, name string) error {
	table := s.table(name)
	var part []storage.Operation
	var changed error // some rows were changed by somebody else meanwhile
	write := func() error {
		err := table.WriteBatch(ctx, part)
		part = nil
		if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
			changed, err = err, nil
		}
		return err
	}
	partition := ""
	for row, err := range table.List(ctx, "") {
		if err != nil {
			return err
		}
		if len(part) == hashRows || row.PartitionKey() != partition {
			if err := write(); err != nil {
				return err
			}
			partition = row.PartitionKey()
		}
		has := false
		for _, column := range hashColumns[name] {
			has = has || row.Has(column)
		}
		if !has {
			continue
		}
		if row.ETag() == "" { // a list need not say versions
			if row, err = table.Find(ctx, row.PartitionKey(), row.RowKey()); err != nil {
				return err
			}
			if row == nil {
				continue
			}
		}
		for _, column := range hashColumns[name] {
			delete(row, column)
		}
		part = append(part, storage.ReplaceOp(row).IfMatch(row.ETag()))
	}
	return errors.Join(write(), changed)
}
