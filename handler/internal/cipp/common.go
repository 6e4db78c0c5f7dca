package cipp

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"cipp-ninjaone/handler/internal/storage"
)

// commonLife is how long Common counts before it is read again.
const commonLife = 5 * time.Minute

// Common is what CIPP's tables say that concerns all tenants alike, and that people
// rarely change.
type Common struct {
	// PortalHost is the host of CIPP's portal, for links; "" when it is unknown.
	PortalHost string
	// ExcludedSKUs are left out everywhere, by lower-case GUID.
	ExcludedSKUs map[string]bool

	templates []storage.Entity // of standards
	read      time.Time
}

// Common returns what was read since a time, and at most commonLife ago.
func (s *Store) Common(ctx context.Context, since time.Time) (*Common, error) {
	at := s.deps.Now()
	good := func(c *Common) bool { return !c.read.Before(since) && at.Sub(c.read) < commonLife }
	return s.common.Get(ctx, struct{}{}, good, func(ctx context.Context, _ *Common) (*Common, error) {
		c := &Common{read: s.deps.Now()}
		all, ctx := errgroup.WithContext(ctx)
		all.Go(func() (err error) {
			c.PortalHost, err = s.portalHost(ctx)
			return err
		})
		all.Go(func() (err error) {
			c.ExcludedSKUs, err = s.excludedSKUs(ctx)
			return err
		})
		all.Go(func() error {
			for e, err := range s.rows(ctx, tableTemplates, storage.Eq("PartitionKey", "StandardsTemplateV2")) {
				if err != nil {
					return fmt.Errorf("read CIPP's standards templates: %w", err)
				}
				c.templates = append(c.templates, e)
			}
			return nil
		})
		return c, all.Wait()
	})
}
