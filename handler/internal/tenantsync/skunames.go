package tenantsync

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"

	"cipp-ninjaone/handler/internal/storage"
)

// skuNamesBlob holds the names that were last read.
const skuNamesBlob = "sku-names.json"

// KeptNames are the friendly names of licences by SKU id, kept in storage: on
// a day when they cannot be fetched, the fields must not change for it.
type KeptNames struct {
	Fetch func(context.Context) map[string]string // nil or an empty answer means none
	Blobs *storage.Container
	Log   *slog.Logger

	mu   sync.Mutex
	kept map[string]string
}

// Names returns the names, nil when they were never read.
func (k *KeptNames) Names(ctx context.Context) map[string]string {
	var names map[string]string
	if k.Fetch != nil {
		names = k.Fetch(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(names) == 0 {
		if k.kept == nil {
			k.kept = k.load(ctx)
		}
		return k.kept
	}
	if !maps.Equal(names, k.kept) {
		body, err := json.Marshal(names)
		if err == nil {
			err = k.Blobs.Put(ctx, skuNamesBlob, body)
		}
		if err != nil {
			k.Log.WarnContext(ctx, "the names of licences could not be kept", "error", err)
		}
		k.kept = names
	}
	return names
}

func (k *KeptNames) load(ctx context.Context) map[string]string {
	body, err := k.Blobs.Get(ctx, skuNamesBlob)
	if err != nil {
		return nil // never kept, or not readable now: asked again next time
	}
	var names map[string]string
	if err := json.Unmarshal(body, &names); err != nil {
		k.Log.WarnContext(ctx, "the kept names of licences are not readable and are left out", "error", err)
	}
	return names
}
