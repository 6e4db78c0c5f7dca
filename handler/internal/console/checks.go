package console

import (
	"context"
	"errors"
	"strconv"
	"time"

	"cipp-ninjaone/handler/internal/check"
)

// Checker tells what is wrong with the deployment; *check.Checker is one.
type Checker interface {
	Run(ctx context.Context, o check.Options) (*check.Report, error)
}

// checkTime bounds a check, so that its page still comes through the platform's
// front end. What it leaves undone the page says.
const checkTime = 150 * time.Second

type checksPage struct {
	Tenant   string
	Report   *check.Report // nil before a check was asked for
	Sections []checkSection
	Took     time.Duration
	Pager    pager
}

type checkSection struct {
	check.Section
	State chip
}

// checks is the page before a check.
func (c *Console) checks(x *exchange) error {
	return c.show(x, "checks", "Checks", "", checksPage{Tenant: x.value("tenant")})
}

// runChecks looks at the deployment, one page of tenants at a time. It changes nothing,
// so readers may ask too. It serves one person at a time, since all checks share a small
// part of the call rate.
func (c *Console) runChecks(x *exchange) error {
	page := checksPage{Tenant: x.value("tenant")}
	if !c.checking.TryLock() {
		return c.show(x, "checks", "Checks", "Somebody else's check is under way. Try again in a minute.", page)
	}
	defer c.checking.Unlock()
	ctx, cancel := context.WithTimeout(x.ctx(), checkTime)
	defer cancel()
	n, _ := strconv.Atoi(x.value("page"))
	report, err := c.Check.Run(ctx, check.Options{Tenant: page.Tenant, From: (max(1, min(n, maxPages)) - 1) * rowsPerPage, Tenants: rowsPerPage})
	if errors.Is(err, check.ErrNoTenant) {
		return c.show(x, "checks", "Checks", "CIPP knows no such tenant: enter its id, or one of its domain names.", page)
	}
	if err != nil {
		return err
	}
	page.Report, page.Took = report, report.Ended.Sub(report.Started).Round(100*time.Millisecond)
	if page.Tenant == "" {
		_, page.Pager = paged(x, make([]struct{}, report.Mapped))
	}
	for _, s := range report.Sections {
		state := chipOf("good", "in order")
		switch {
		case s.Problems() > 0:
			state = chipOf("bad", plural(s.Problems(), "problem", "problems"))
		case s.Skipped != "":
			state = chipOf("off", "not looked at")
		}
		page.Sections = append(page.Sections, checkSection{s, state})
	}
	return c.show(x, "checks", "Checks", "", page)
}

// maxPages keeps page numbers from overflowing.
const maxPages = 1 << 20
