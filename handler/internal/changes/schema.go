package changes

import (
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/storage"
)

// TableName is our own table of what is watched.
const TableName = "NinjaOneChanges"

// The rows of table NinjaOneChanges, each with the column Version (int32) of
// package layout. Partition "watch" has for each tenant a row of its [State],
// "tenant|<tenant id>":
//
//	Queued     time: when its look was queued last; 1970 when that was dropped
//	Looked     time: when the last look began
//	Failures   int32: looks in a row that failed
//	Problem    text: what the last look could not read, for a technician
//	Found      text: what the last look with changes found
//	FoundAt    time: when
//	Distance   int64: seconds between light runs at present
//	DevicesDistance  int64: the same of those that read NinjaOne's devices anew
//	Due        time: when the last light run that was asked for is due
//	DevicesDue time: the same of one that reads NinjaOne's devices anew
//	Damped     bool: the logbook was told that the tenant, or its devices in NinjaOne,
//	           change all the time
//	List       text: digest of Intune's list; "" where there is none
//	ListRead   time: when that was read last
//
// and one of its delta links, "links|<tenant id>", which hold tokens and are never
// logged:
//
//	Users, Groups, Roles, Devices  text
//	Given                          time: when the oldest of them was given out
//
// and for each instance of NinjaOne a row "activities|<instance>":
//
//	Last      int64: the activity that was seen last
//	Reversed  bool: NinjaOne means newerThan and olderThan the other way round
//	Looked    time: when NinjaOne was asked last
//	Failures  int32: how often in a row it did not say
//
// The blob watch/<tenant id>.json in the container ninjaone-sync is a JSON object
// of [list]: Intune's devices as the last look saw them.
const (
	partition        = "watch"
	tenantPrefix     = "tenant|"
	linksPrefix      = "links|"
	activitiesPrefix = "activities|"
)

func blobName(tenantID string) string { return "watch/" + tenantID + ".json" }

// State is how the watching of a tenant stands. Unknown times are zero.
type State struct {
	TenantID       string
	Queued, Looked time.Time
	Failures       int
	Problem        string
	Found          string
	FoundAt        time.Time
	Distance       time.Duration
	// DevicesDistance is the same as Distance, of light runs for NinjaOne's devices.
	DevicesDistance time.Duration
	Due             time.Time
	DevicesDue      time.Time
	Damped          bool

	list     string
	listRead time.Time
}

func stateOf(row storage.Entity) State {
	return State{
		TenantID: strings.TrimPrefix(row.RowKey(), tenantPrefix),
		Queued:   row.Time("Queued"), Looked: row.Time("Looked"),
		Failures: int(row.Int("Failures")), Problem: row.String("Problem"),
		Found: row.String("Found"), FoundAt: row.Time("FoundAt"),
		Distance: time.Duration(row.Int("Distance")) * time.Second, DevicesDistance: time.Duration(row.Int("DevicesDistance")) * time.Second,
		Due: row.Time("Due"), DevicesDue: row.Time("DevicesDue"),
		Damped: row.Bool("Damped"), list: row.String("List"), listRead: row.Time("ListRead"),
	}
}

// row has no column Queued, which the timer alone writes.
func (s State) row() storage.Entity {
	row := storage.Entity{
		"PartitionKey": partition, "RowKey": tenantPrefix + s.TenantID,
		"Failures": int32(s.Failures), "Problem": s.Problem, "Found": s.Found,
		"Distance": int64(s.Distance / time.Second), "DevicesDistance": int64(s.DevicesDistance / time.Second), "Damped": s.Damped, "List": s.list,
	}
	row.SetTimes(map[string]time.Time{"Looked": s.Looked, "FoundAt": s.FoundAt, "Due": s.Due, "DevicesDue": s.DevicesDue, "ListRead": s.listRead})
	return row
}

// wokenRow has only what asking for a light run changes: a look may be under way.
func (s State) wokenRow() storage.Entity {
	row := s.row()
	for _, other := range []string{"Looked", "Failures", "Problem", "Damped", "List", "ListRead"} {
		delete(row, other)
	}
	return row
}

func queuedRow(tenantID string, at time.Time) storage.Entity {
	return storage.Entity{"PartitionKey": partition, "RowKey": tenantPrefix + tenantID, "Queued": at.UTC()}
}

var linkColumns = map[m365.DeltaList]string{m365.DeltaUsers: "Users", m365.DeltaGroups: "Groups", m365.DeltaRoles: "Roles", m365.DeltaDevices: "Devices"}

// links are a tenant's delta links, and when the oldest was given out.
type links struct {
	m365.DeltaLinks
	given time.Time
}

func linksOf(row storage.Entity) links {
	l := links{m365.DeltaLinks{}, row.Time("Given")}
	for list, column := range linkColumns {
		if link := row.String(column); link != "" {
			l.DeltaLinks[list] = link
		}
	}
	return l
}

func (l links) row(tenantID string) storage.Entity {
	row := storage.Entity{"PartitionKey": partition, "RowKey": linksPrefix + tenantID, "Given": l.given.UTC()}
	for list, column := range linkColumns {
		row[column] = l.DeltaLinks[list]
	}
	return row
}
