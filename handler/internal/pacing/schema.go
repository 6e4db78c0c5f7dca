package pacing

import (
	"encoding/json"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// Blobs of this package in the container ninjaone-sync: slot/<lane>-<number>, such as
// slot/sync-0 to slot/sync-3. Each is empty; who leases it has the slot.
//
// The rows of table NinjaOneSyncState, partition "pace": one for each instance of
// NinjaOne, whose key is its host. All processes change it, each by the ETag that
// it has read.
const (
	partition = "pace"
	// columnPace (float) is the pace, for people who look at the table.
	columnPace = "Pace"
	// columnLearnt (text) is the JSON of learnt.
	columnLearnt = "Learnt"
	// columnProcesses (text) is the JSON of each working process's last report, by the
	// process's id. Reports older than reportLife do not count.
	columnProcesses = "Processes"
)

// report is what a process tells the others.
type report struct {
	At     time.Time
	Rate   float64  // calls per second that passed since it last told
	Minute float64  // the same of the last minute
	Lanes  []string `json:",omitempty"` // parts of the pace that it uses
	Wants  []string `json:",omitempty"` // what it waits for: signals of lanes
}

// shared is the content of a row.
type shared struct {
	learnt  learnt
	reports map[string]report
	etag    string // "" while there is no row
}

// entity is the row of an instance.
func (s shared) entity(instance string) (storage.Entity, error) {
	known, err := json.Marshal(s.learnt)
	if err != nil {
		return nil, fmt.Errorf("encoding the pace: %w", err)
	}
	reports, err := json.Marshal(s.reports)
	if err != nil {
		return nil, fmt.Errorf("encoding what processes told of the pace: %w", err)
	}
	return storage.Entity{
		"PartitionKey": partition, "RowKey": instance, columnPace: s.learnt.Pace,
		columnLearnt: string(known), columnProcesses: string(reports),
	}, nil
}

// sharedOf reads a row, nil where there is none. One that was learnt under another
// NINJAONE_RATE, or that cannot be read, counts for nothing.
func sharedOf(row storage.Entity, l Limits, now time.Time) shared {
	s := shared{etag: row.ETag(), reports: map[string]report{}}
	if json.Unmarshal([]byte(row.String(columnLearnt)), &s.learnt) != nil || s.learnt.Start != l.Start || !(s.learnt.Pace > 0) {
		s.learnt = unknown(l, now)
	}
	s.learnt.Pace, s.learnt.Proven = l.within(s.learnt.Pace), l.within(s.learnt.Proven)
	told := map[string]report{}
	if json.Unmarshal([]byte(row.String(columnProcesses)), &told) == nil {
		for id, r := range told {
			if age := now.Sub(r.At); age < reportLife && age > -reportLife {
				s.reports[id] = r
			}
		}
	}
	return s
}
