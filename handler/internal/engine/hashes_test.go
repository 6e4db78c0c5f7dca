package engine

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/cipp"
)

// hashed are the columns by which CIPP's newer versions skip rows, by table.
var hashed = map[string]map[string]any{
	"NinjaOneDeviceMap":  {"FieldsHash": "AB12", "FieldsTime": "2026-11-29T03:00:00.0000000Z", "RelationsKey": "7|1,2", "RelationsTime": "2026-11-29T03:00:00.0000000Z"},
	"NinjaOneUserMap":    {"FieldHashes": "_name=ab", "InputHash": "cd", "DocUpdateTime": "1764385200.5"},
	"NinjaOneLicenseMap": {"DocHash": "ef", "DocUpdateTime": "1764385200.5", "HashTime": "2026-11-29T03:00:00.0000000Z"},
}

// stays are columns that stay, of all types.
var stays = map[string]any{"NinjaOneID": "4711", "NinjaOneID@odata.type": "Edm.Int64", "M365ID": "m", "Seen": "2026-11-29T03:00:00Z", "Seen@odata.type": "Edm.DateTime", "Flag": true, "Count": 3}

// fill leaves rows of both generations in CIPP's maps.
func (w *world) fill() {
	w.t.Helper()
	for table, columns := range hashed {
		_, _ = w.tables.CreateTable(w.t.Context(), table, nil) // it may be there
		for i := range 205 {
			row := map[string]any{}
			for name, v := range stays {
				row[name] = v
			}
			if i%5 != 0 { // else of an older version
				for name, v := range columns {
					row[name] = v
				}
			}
			w.write(table, fmt.Sprint("tenant", i%2), fmt.Sprint("row", i), row)
		}
	}
}

// left counts the rows of a table, and those that have columns of hashed. It fails
// the test when anything else has changed.
func (w *world) left(table string) (rows, with int) {
	w.t.Helper()
	for _, r := range w.rows(table, "PartitionKey eq 'tenant0' or PartitionKey eq 'tenant1'") {
		rows++
		rest, has := map[string]any{}, false
		for name, v := range r {
			switch _, hash := hashed[table][name]; {
			case hash:
				has = true
			case !strings.HasPrefix(name, "odata.") && !strings.HasPrefix(name, "Timestamp") && name != "PartitionKey" && name != "RowKey":
				rest[name] = v
			}
		}
		want := map[string]any{"Count": 3.0}
		for name, v := range stays {
			if name != "Count" {
				want[name] = v
			}
		}
		if diff := cmp.Diff(want, rest); diff != "" {
			w.t.Errorf("table %s, row %v (-want +got):\n%s", table, r["RowKey"], diff)
		}
		if has {
			with++
		}
	}
	return rows, with
}

// TestGiveBackForgetsHashes: CIPP would skip for seven days what it believes that
// NinjaOne shows. What storage refuses is removed by the next tick.
func TestGiveBackForgetsHashes(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.tick()
	for table := range hashed {
		if rows, with := w.left(table); rows != 205 || with != 164 {
			t.Fatalf("while it is held off, %d of %d rows of %s have their hashes", with, rows, table)
		}
	}
	own := w.CIPP
	w.CIPP = w.refusing("NinjaOneUserMap")
	must(t, w.GiveBack(t.Context()))
	w.wantHeld(false)
	for table := range hashed {
		rows, with := w.left(table)
		if rows != 205 || (with > 0) != (table == "NinjaOneUserMap") {
			t.Errorf("given back, %d of %d rows of %s have their hashes", with, rows, table)
		}
	}
	if err := w.Tick(t.Context()); err == nil {
		t.Error("a tick that storage refuses says nothing")
	}
	w.CIPP = own
	w.tick()
	if rows, with := w.left("NinjaOneUserMap"); rows != 205 || with != 0 {
		t.Errorf("after the next tick, %d of %d rows have their hashes", with, rows)
	}
	// CIPP's engine runs: what it notes from now on is its own.
	w.write("NinjaOneUserMap", "tenant0", "row0", map[string]any{"InputHash": "new"})
	w.tick()
	if _, with := w.left("NinjaOneUserMap"); with != 1 {
		t.Error("a later tick removed what CIPP noted itself")
	}
	// Somebody asks this app for a sync all the same.
	must(t, w.Writes(t.Context()))
	w.tick()
	if rows, with := w.left("NinjaOneUserMap"); rows != 205 || with != 0 {
		t.Errorf("after a sync that was asked for, %d of %d rows have their hashes", with, rows)
	}
	// While CIPP's engine is held off nothing is removed.
	must(t, w.TakeOver(t.Context()))
	w.write("NinjaOneUserMap", "tenant0", "row0", map[string]any{"InputHash": "new"})
	must(t, w.Writes(t.Context()))
	w.tick()
	if _, with := w.left("NinjaOneUserMap"); with != 1 {
		t.Error("hashes were removed while CIPP's engine is held off")
	}
}

// refusing returns CIPP's tables with one that cannot be changed.
func (w *world) refusing(table string) *cipp.Store {
	return w.through(func(r *http.Request, body []byte) bool {
		return r.Method == http.MethodGet || !strings.Contains(r.URL.Path, table) && !bytes.Contains(body, []byte(table))
	})
}
