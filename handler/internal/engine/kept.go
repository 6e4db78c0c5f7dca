package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cipp-ninjaone/handler/internal/storage"
)

// Why every mapped tenant is owed a forced sync.
const (
	reasonForceSync = "force"
	reasonTakeOver  = "takeover"
)

// kept is what we keep of CIPP's engine.
type kept struct {
	givenBack bool
	held      bool      // the scheduler's rows were made ours, so a change is CIPP's doing
	syncTime  int       // last NinjaSyncTime of CIPP's own; 0 when none was seen
	lastRun   time.Time // last NinjaLastRunTime of CIPP's own; zero when none was seen
	hashes    bool      // of CIPP's tables what its engine skips rows by is still to be removed
	owe       time.Time // forced syncs are owed for what CIPP started then; zero when none are
	reason    string

	etag string
}

// errChanged: another process changed our row since it was read.
var errChanged = errors.New("another process is holding off or giving back CIPP's own NinjaOne sync at this moment")

func (h *Hold) load(ctx context.Context) (kept, error) {
	e, err := h.Table.Find(ctx, partition, row)
	if err != nil {
		return kept{}, fmt.Errorf("read whether CIPP's own NinjaOne sync is held off: %w", err)
	}
	return kept{
		givenBack: e.Bool("GivenBack"),
		held:      e.Bool("Held"),
		syncTime:  int(e.Int("SyncTime")),
		lastRun:   e.Time("LastRun"),
		hashes:    e.Bool("Hashes"),
		owe:       e.Time("Owe"),
		reason:    e.String("Reason"),
		etag:      e.ETag(),
	}, nil
}

// save writes k unless another process changed the row since k was loaded. Then it fails
// with errChanged, and writes nothing.
func (h *Hold) save(ctx context.Context, k kept) error {
	e := storage.Entity{
		"PartitionKey": partition, "RowKey": row,
		"GivenBack": k.givenBack, "Held": k.held, "SyncTime": int32(k.syncTime), "LastRun": k.lastRun,
		"Hashes": k.hashes, "Owe": k.owe, "Reason": k.reason,
	}
	var err error
	if k.etag == "" {
		err = h.Table.Insert(ctx, e)
	} else {
		err = h.Table.ReplaceIfMatch(ctx, e, k.etag)
	}
	switch {
	case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrNotFound):
		return errChanged
	case err != nil:
		return fmt.Errorf("note whether CIPP's own NinjaOne sync is held off: %w", err)
	}
	return nil
}

// change loads, changes and saves, again where another process was faster. It returns
// what is kept then. It saves nothing when do returns false.
func (h *Hold) change(ctx context.Context, do func(*kept) bool) (kept, error) {
	for range 20 {
		k, err := h.load(ctx)
		if err != nil || !do(&k) {
			return k, err
		}
		if err = h.save(ctx, k); !errors.Is(err, errChanged) {
			return k, err
		}
	}
	return kept{}, errChanged
}
