package assignments

import (
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// TableName is our own table of the tenants whose compliance is written. Package
// subscriptions keeps the rows of its other partition.
const TableName = "NinjaOneSubscriptions"

// The rows of table NinjaOneSubscriptions, partition "status": one for each
// tenant, whose key is the tenant's id. Times that are not known are 1970-01-01.
//
// Written when notifications are worked on:
//
//	LastNotification     time: when notifications were last worked on
//	Missed               int: 0
//
// Written by sweeps:
//
//	LastSweep            time: when the tenant was last swept
//	Devices              int: managed devices that the last sweep saw
//	Changes              int: fields that the last sweep wrote
//	Missed               int: changes that sweeps found and no notification announced
//	MissedSince          time: since when
//	Kind                 text: kind of the last sweep's problem; "" for none
//	Problem              text: the same, for a technician
//	Since                time: since when sweeps have this kind of problem
//	RetryAfter           time: no sweep before
//
// Written by the timer of subscriptions:
//
//	Expires              time: end of the subscription
//	SubscriptionKind     text: why there is none; "" while it is in order
//	SubscriptionProblem  text: the same, for a technician
//	Unwanted             time: when it was first found that nobody wants it
//
// Each row has the column Version (int32) of package layout.
const partition = "status"

func statusOf(row storage.Entity) Status {
	at := func(column string) time.Time {
		if t := row.Time(column); t.After(never) {
			return t
		}
		return time.Time{}
	}
	return Status{
		TenantID:         row.RowKey(),
		LastNotification: at("LastNotification"), LastSweep: at("LastSweep"),
		Devices: int(row.Int("Devices")), Changes: int(row.Int("Changes")),
		Missed: int(row.Int("Missed")), MissedSince: at("MissedSince"),
		Kind: row.String("Kind"), Problem: row.String("Problem"), Since: at("Since"), RetryAfter: at("RetryAfter"),
		Expires: at("Expires"), SubscriptionKind: row.String("SubscriptionKind"), SubscriptionProblem: row.String("SubscriptionProblem"),
		Unwanted: at("Unwanted"),
	}
}

// columnsOf are the columns of a row with its key.
func columnsOf(tenantID string, columns storage.Entity) storage.Entity {
	columns["PartitionKey"], columns["RowKey"] = partition, tenantID
	return columns
}

// never stands in a row for an absent time, since a merge cannot remove a column.
var never = time.Unix(0, 0).UTC()

func orNever(t time.Time) time.Time {
	if t.IsZero() {
		return never
	}
	return t
}
