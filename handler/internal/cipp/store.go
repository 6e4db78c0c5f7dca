// Package cipp reads and writes CIPP's tables and secrets by CIPP's own rules, so that
// both can share them.
//
// Every quirk of how CIPP stores things ends here: callers get plain values. Nothing of
// NinjaOne's API, Microsoft Graph or our own state enters. The package writes no row that
// CIPP would not write itself.
package cipp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/storage"
)

// CIPP's tables.
const (
	tableConfig           = "Config"
	tableExtensionsConfig = "Extensionsconfig"
	tableMapping          = "CippMapping"
	tableNinjaSettings    = "NinjaOneSettings"
	tableDeviceMap        = "NinjaOneDeviceMap"
	tableUserMap          = "NinjaOneUserMap"
	tableLicenseMap       = "NinjaOneLicenseMap"
	tableTenants          = "Tenants"
	tableTenantMode       = "tenantMode"
	tableLogs             = "CippLogs"
	tableTemplates        = "templates"
	tableExcludedLicenses = "ExcludedLicenses"
	tableReporting        = "CippReportingDB"
	tableDevSecrets       = "DevSecrets"
)

// Deps are what a Store works with.
type Deps struct {
	Account *storage.Account // CIPP's
	// Timezone is the zone of the logbook's partitions, an IANA name (setting
	// CIPP_TIMEZONE). When it is "", the zone is the one that CIPP keeps in its
	// table Config, else UTC.
	Timezone string
	// SiteName is the app's name in the logbook's column FunctionNode (setting
	// WEBSITE_SITE_NAME).
	SiteName string
	// User names the person for whom the app acts, as lines of the logbook name them. It
	// is "" for the app itself.
	User func(context.Context) string
	Now  func() time.Time
	Log  *slog.Logger // is told what is skipped because it cannot be read
}

// Store is CIPP's storage account. It is safe for concurrent use. A table that
// CIPP has not created yet is empty.
type Store struct {
	deps     Deps
	common   lookup.Cache[struct{}, *Common]
	zoneMu   sync.Mutex
	zone     *time.Location
	zoneRead time.Time
}

// New returns the Store of CIPP's storage account.
func New(d Deps) *Store { return &Store{deps: d} }

func (s *Store) table(name string) *storage.Table { return s.deps.Account.Table(name) }

// value reads one column of one row as text; "" when the row is not there.
func (s *Store) value(ctx context.Context, table, partition, row, column string) (string, error) {
	e, err := s.table(table).Find(ctx, partition, row)
	if err != nil {
		return "", fmt.Errorf("read %s of CIPP's table %s: %w", row, table, err)
	}
	return e.String(column), nil
}

// isoTime is how CIPP writes a time as text.
const isoTime = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) string { return t.UTC().Format(isoTime) }
