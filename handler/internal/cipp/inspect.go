package cipp

import "context"

// TableAccess is what this app may do with one of CIPP's tables.
type TableAccess struct {
	Name   string
	Exists bool
	Writes bool  // this app writes to it
	Read   error // why it cannot be read; nil when it can, or is not there
	Write  error // why it cannot be changed; nil when it can, is not there, or need not
}

// tablesUsed are all tables that this app uses, and whether it writes to them.
var tablesUsed = []struct {
	name   string
	writes bool
}{
	{tableExtensionsConfig, true}, {tableMapping, true}, {tableNinjaSettings, true}, {tableTenants, false}, {tableConfig, false},
	{tableLogs, true}, {tableDeviceMap, true}, {tableUserMap, true}, {tableLicenseMap, true}, {tableWebhooks, true}, {tableTenantMode, false},
	{tableTemplates, false}, {tableExcludedLicenses, false}, {tableCVEExceptions, false}, {tableReporting, false}, {tableScheduledTasks, false},
}

// Inspect finds out what this app may do with each of CIPP's tables that it
// uses. It changes nothing. It ends early, with the context's error, when the
// context does.
func (s *Store) Inspect(ctx context.Context) ([]TableAccess, error) {
	list := make([]TableAccess, 0, len(tablesUsed))
	for _, used := range tablesUsed {
		a := TableAccess{Name: used.name, Writes: used.writes}
		table := s.table(used.name)
		a.Exists, a.Read = table.Readable(ctx)
		if used.writes {
			a.Write = table.Changeable(ctx)
		}
		if ctx.Err() != nil {
			return list, ctx.Err()
		}
		list = append(list, a)
	}
	return list, nil
}
