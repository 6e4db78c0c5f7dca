package tenantsync

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/storage"
)

// skuNamesBlob holds the names that were last read.
const skuNamesBlob = "sku-names.json"

// KeptNames are the friendly names of licences and service plans by their GUIDs, kept in
// storage. On some days they cannot be fetched, or the list lacks some that it had. The
// fields must not change for it.
type KeptNames struct {
	Fetch func(context.Context) map[string]string // nil or an empty answer means none
	Blobs *storage.Container
	Log   *slog.Logger

	mu   sync.Mutex
	kept map[string]string
}

// Names returns the names that were fetched, and of what these lack those that were
// kept. They are nil when they were never read.
func (k *KeptNames) Names(ctx context.Context) map[string]string {
	var names map[string]string
	if k.Fetch != nil {
		names = k.Fetch(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		kept, err := k.load(ctx)
		if err != nil { // asked again next time, and not written over before
			k.Log.WarnContext(ctx, "the kept names of licences cannot be read", "error", err)
			return names
		}
		k.kept = kept
	}
	all := maps.Clone(k.kept) // earlier runs may hold the kept ones
	if all == nil {
		all = map[string]string{}
	}
	if maps.Copy(all, names); maps.Equal(all, k.kept) {
		return k.kept
	}
	body, err := json.Marshal(all)
	if err == nil {
		err = k.Blobs.Put(ctx, skuNamesBlob, body)
	}
	if err != nil {
		k.Log.WarnContext(ctx, "the names of licences could not be kept", "error", err)
	}
	k.kept = all
	return all
}

// load returns the names that are kept, none where they cannot be decoded.
func (k *KeptNames) load(ctx context.Context) (names map[string]string, err error) {
	body, err := k.Blobs.Get(ctx, skuNamesBlob)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(body, &names) != nil {
		k.Log.WarnContext(ctx, "the kept names of licences are not readable and are left out")
		names = nil
	}
	return names, nil
}

// overview is an object of CIPP's cache of licences, which holds a product's name
// under either property.
type overview struct {
	SKUID      string `json:"skuId"`
	License    string
	PartNumber string `json:"skuPartNumber"`
}

// nameLicences completes the names with those in CIPP's cache, for the licences
// that have none. That it cannot be read costs names alone.
func (j *job) nameLicences(ctx context.Context, in *inputs) error {
	unnamed := map[string]string{} // part numbers by SKU id
	for _, sku := range in.snapshot.SKUs.Value {
		if id := guid.Fold(sku.ID); in.skuNames[id] == "" {
			unnamed[id] = sku.PartNumber
		}
	}
	if len(unnamed) == 0 {
		return nil
	}
	names := maps.Clone(in.skuNames)
	if names == nil {
		names = map[string]string{}
	}
	for item, err := range j.CIPP.Reporting(ctx, j.ref.DefaultDomain, "LicenseOverview") {
		if err != nil {
			j.log.WarnContext(ctx, "CIPP's cache of licences cannot be read", "error", err)
			break
		}
		var o overview
		if json.Unmarshal(item.Data, &o) != nil {
			continue
		}
		id, name := guid.Fold(o.SKUID), strings.TrimSpace(cmp.Or(o.License, o.PartNumber))
		if part, wanted := unnamed[id]; wanted && name != "" && !strings.EqualFold(name, part) {
			names[id] = name
		}
	}
	in.skuNames = names
	return nil
}
