package cipp

import (
	"context"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// EngineSettings are the rows by which CIPP's own engine decides when it runs
// next (table NinjaOneSettings).
type EngineSettings struct {
	SyncTime int       // NinjaSyncTime: quarter-hour of the day, 1 to 94; 0 when there is no row
	LastRun  time.Time // NinjaLastRunTime; zero when there is no row
}

const (
	enginePartition = "NinjaConfig"
	rowSyncTime     = "NinjaSyncTime"
	rowLastRun      = "NinjaLastRunTime"
	settingValue    = "SettingValue"
)

// EngineSettings reads when CIPP's own engine last ran and is to run.
func (s *Store) EngineSettings(ctx context.Context) (EngineSettings, error) {
	var settings EngineSettings
	for e, err := range s.rows(ctx, tableNinjaSettings, storage.Eq("PartitionKey", enginePartition)) {
		if err != nil {
			return EngineSettings{}, fmt.Errorf("read the schedule of CIPP's own NinjaOne sync: %w", err)
		}
		switch e.RowKey() {
		case rowSyncTime:
			settings.SyncTime = int(e.Int(settingValue))
		case rowLastRun:
			settings.LastRun = e.Time(settingValue)
		}
	}
	return settings, nil
}

// SaveEngineSettings writes both rows, with the types CIPP gives them.
func (s *Store) SaveEngineSettings(ctx context.Context, settings EngineSettings) error {
	row := func(key string, value any) storage.Operation {
		return storage.ReplaceOp(storage.Entity{"PartitionKey": enginePartition, "RowKey": key, settingValue: value})
	}
	return s.write(ctx, tableNinjaSettings, []storage.Operation{
		row(rowSyncTime, int32(settings.SyncTime)),
		row(rowLastRun, formatTime(settings.LastRun)),
	})
}
