package cipp

import (
	"context"
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/storage"
)

// Task is one of CIPP's scheduled tasks that sync an extension. Times are Unix
// seconds as text.
type Task struct {
	PartitionKey, RowKey, Tenant, Name, SyncType string
	ScheduledTime, ExecutedTime, Recurrence      string
	Results                                      string // JSON or text
}

// ExtensionTasks returns the tasks of table ScheduledTasks by which CIPP syncs
// its extensions. It has none for NinjaOne.
func (s *Store) ExtensionTasks(ctx context.Context) ([]Task, error) {
	tasks := []Task{}
	for e, err := range s.rows(ctx, tableScheduledTasks, storage.Eq("Hidden", true)) {
		if err != nil {
			return nil, fmt.Errorf("read CIPP's scheduled tasks: %w", err)
		}
		if strings.Contains(strings.ToLower(e.String("Command")), "cippextension") {
			tasks = append(tasks, Task{
				e.PartitionKey(), e.RowKey(), e.String("Tenant"), e.String("Name"), e.String("SyncType"),
				e.String("ScheduledTime"), e.String("ExecutedTime"), e.String("Recurrence"), e.String("Results"),
			})
		}
	}
	return tasks, nil
}

// tableScheduledTasks holds what CIPP runs at given times; it is only read.
const tableScheduledTasks = "ScheduledTasks"
