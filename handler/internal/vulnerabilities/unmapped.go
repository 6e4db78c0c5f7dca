package vulnerabilities

import (
	"context"
	"errors"
	"fmt"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/storage"
)

// ForgetUnmapped deletes the files of tenants that have not been mapped for a day, and
// the names of their devices. What NinjaOne took stays noted by its digest and numbers,
// in case the tenants are mapped again. ForgetUnmapped does nothing unless it knows all
// mappings.
func (w *Worker) ForgetUnmapped(ctx context.Context) error {
	files, err := w.Files.All(ctx)
	if err != nil || len(files) == 0 {
		return err
	}
	mappings, err := w.CIPP.OrganizationMappings(ctx)
	if err != nil || !cipp.AllNamed(mappings) {
		return err
	}
	mapped := map[string]bool{}
	for _, m := range mappings {
		mapped[m.TenantID] = true
	}
	var errs []error
	for id, s := range files {
		now := w.Now().UTC()
		switch known := !s.Unmapped.IsZero(); {
		case mapped[id] && known:
			err = w.Files.write(ctx, id, storage.Entity{columnUnmapped: never})
		case !mapped[id] && !known:
			err = w.Files.write(ctx, id, storage.Entity{columnUnmapped: now})
		case !mapped[id] && !s.forgotten() && now.Sub(s.Unmapped) >= cipp.UnmappedFor:
			err = w.forget(ctx, id)
		default:
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete the CVE files of tenant %s, which is not mapped any more: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// forget deletes a tenant's files, and what its row says of devices. The row goes last,
// since it leads here.
func (w *Worker) forget(ctx context.Context, tenantID string) error {
	lease, err := w.Files.Blobs.Lease(ctx, leaseBlob(tenantID), leaseDuration)
	if errors.Is(err, storage.ErrLeaseTaken) {
		return nil // a message is worked on; next time
	}
	if err != nil {
		return err
	}
	defer lease.Release()
	ctx = lease.Context()
	s, err := w.Files.Of(ctx, tenantID)
	if err != nil {
		return err
	}
	if err := w.Files.tidy(ctx, tenantID, ""); err != nil {
		return err
	}
	w.Log.InfoContext(ctx, "the CVE files of a tenant that is not mapped any more are deleted", "tenant", tenantID)
	return w.Files.save(ctx, Status{TenantID: tenantID, GroupID: s.GroupID, Digest: s.Digest, Rows: s.Rows, Uploaded: s.Uploaded,
		Import: s.Import, Processed: s.Processed, Ended: s.Ended, Held: s.Held, Named: s.Named})
}
