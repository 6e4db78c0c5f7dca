package tenantsync

import (
	"cmp"
	"context"
	"encoding/json"
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
	Fetch func(context.Context) map[string]string // an empty answer means none
	Blobs *storage.Container
	Log   *slog.Logger

	mu   sync.Mutex
	kept map[string]string
}

// Names returns the names that were fetched, and of what these lack those that were
// kept.
func (k *KeptNames) Names(ctx context.Context) map[string]string {
	names := k.Fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		kept, err := storage.FindJSON[map[string]string](ctx, k.Blobs, skuNamesBlob)
		if err != nil { // asked again next time, and not written over before
			k.Log.WarnContext(ctx, "the kept names of licences cannot be read", "error", err)
			return names
		}
		if kept != nil {
			k.kept = *kept
		}
	}
	all := map[string]string{} // earlier runs may hold the kept ones
	maps.Copy(all, k.kept)
	if maps.Copy(all, names); maps.Equal(all, k.kept) {
		return k.kept // asked again next time while there are none: another process may keep some
	}
	if err := k.Blobs.PutJSON(ctx, skuNamesBlob, all); err != nil {
		k.Log.WarnContext(ctx, "the names of licences could not be kept", "error", err)
	}
	k.kept = all
	return all
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
	names := map[string]string{}
	maps.Copy(names, in.skuNames)
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
