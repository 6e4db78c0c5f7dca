package m365

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"cipp-ninjaone/handler/internal/endpoint"
	"cipp-ninjaone/handler/internal/lookup"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/netfault"
)

// defaultSKUNamesURL is Microsoft's public file "Product names and service plan
// identifiers for licensing".
const defaultSKUNamesURL = "https://download.microsoft.com/download/e/3/e/e3e9faf2-f28b-490a-9ada-c6089a1fc5b0/" +
	"Product%20names%20and%20service%20plan%20identifiers%20for%20licensing.csv"

const (
	skuNamesLife    = 24 * time.Hour
	skuNamesRetry   = 15 * time.Minute // after a failure
	skuNamesTimeout = 30 * time.Second
	skuNamesBytes   = 16 << 20
)

// SKUNames gives the friendly names of licences, read from Microsoft's public
// file and kept for a day. It is safe for concurrent use.
type SKUNames struct {
	address string
	client  *http.Client
	log     *slog.Logger
	now     func() time.Time

	kept lookup.Cache[struct{}, skuNames]
}

// skuNames are the names as they were read last, and when to read them again.
type skuNames struct {
	names map[string]string
	next  time.Time
}

// NewSKUNames returns a source of names read from address ("" =
// defaultSKUNamesURL).
func NewSKUNames(address string, transport http.RoundTripper, now func() time.Time, log *slog.Logger) *SKUNames {
	return &SKUNames{
		address: cmp.Or(address, defaultSKUNamesURL),
		log:     log,
		now:     now,
		kept:    lookup.Cache[struct{}, skuNames]{Limit: skuNamesTimeout},
		client: &http.Client{Transport: steady(transport), CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= 5 || !endpoint.Safe(req.URL) {
				return fmt.Errorf("a redirect that is not followed")
			}
			return nil
		}},
	}
}

// Names returns the names of products and service plans by their GUIDs, in lower case. It
// returns nil when it never read them. It logs a failure and returns no error, because
// part numbers do as well.
func (s *SKUNames) Names(ctx context.Context) map[string]string {
	good := func(have skuNames) bool { return s.now().Before(have.next) }
	// Nothing but the end of the context is an error here.
	got, _ := s.kept.Get(ctx, struct{}{}, good, func(ctx context.Context, old skuNames) (skuNames, error) {
		names, err := s.fetch(ctx)
		if err != nil {
			s.log.Warn("names of licences not read; those that were kept are shown, or part numbers", "error", err)
			return skuNames{old.names, s.now().Add(skuNamesRetry)}, nil
		}
		return skuNames{names, s.now().Add(skuNamesLife)}, nil
	})
	return got.names
}

func (s *SKUNames) fetch(ctx context.Context) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
	if err != nil || !endpoint.Safe(req.URL) {
		return nil, fmt.Errorf("the address of the file must be https")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetching the file: %w", netfault.Explain(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the file: HTTP %d", res.StatusCode)
	}
	body := &io.LimitedReader{R: res.Body, N: skuNamesBytes + 1}
	names, err := wire.DecodeSKUNames(body)
	if err == nil && body.N <= 0 {
		err = fmt.Errorf("the file is larger than %d MiB", skuNamesBytes>>20)
	}
	return names, err
}
