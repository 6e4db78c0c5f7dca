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
	fetched := k.Fetch(ctx)
	return k.join(ctx, func(kept map[string]string) map[string]string { return joined(kept, fetched) })
}

// Keep keeps names from elsewhere, where neither was one fetched nor kept.
func (k *KeptNames) Keep(ctx context.Context, names map[string]string) {
	k.join(ctx, func(kept map[string]string) map[string]string { return joined(names, kept) })
}

// join returns what is kept with what with adds, and keeps that.
func (k *KeptNames) join(ctx context.Context, with func(kept map[string]string) map[string]string) map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) > 0 && maps.Equal(with(k.kept), k.kept) {
		return k.kept
	}
	stored, err := storage.FindJSON[map[string]string](ctx, k.Blobs, skuNamesBlob)
	if err != nil { // asked again next time, and not written over before
		k.Log.WarnContext(ctx, "the kept names of licences cannot be read", "error", err)
		return with(k.kept)
	}
	var others map[string]string // what other processes keep too
	if stored != nil {
		others = *stored
	}
	k.kept = with(joined(others, k.kept))
	if !maps.Equal(k.kept, others) {
		if err := k.Blobs.PutJSON(ctx, skuNamesBlob, k.kept); err != nil {
			k.Log.WarnContext(ctx, "the names of licences could not be kept", "error", err)
		}
	}
	return k.kept
}

// joined returns the names of both, the newer one where both have one. Earlier runs may
// hold either.
func joined(older, newer map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, older)
	maps.Copy(all, newer)
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
// that have none. That it cannot be read costs names alone, and none that it gave before.
// Then it takes those that the licences' documents have.
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
	learnt := map[string]string{}
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
			learnt[id] = name
		}
	}
	if len(learnt) > 0 {
		j.KeepNames(ctx, learnt)
	}
	in.skuNames = joined(in.skuNames, learnt)
	if len(learnt) == len(unnamed) || !j.config.LicenseDocuments {
		return nil
	}
	documented, err := j.Documents.Ledger.Documents(j.organization, j.ref.ID).LicenseNames(ctx)
	if err != nil {
		return err
	}
	for id, part := range unnamed {
		if name := documented[id]; in.skuNames[id] == "" && name != "" && !strings.EqualFold(name, part) {
			in.skuNames[id] = name
		}
	}
	return nil
}
