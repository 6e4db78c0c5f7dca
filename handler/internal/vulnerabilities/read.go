package vulnerabilities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/isotime"
	"cipp-ninjaone/handler/internal/m365"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/problems"
	"cipp-ninjaone/handler/internal/reply"
)

// plan reads what a turn needs and decides. The error is unread where nothing can be
// decided, and else one of our storage or CIPP's.
func (t *turn) plan(ctx context.Context) (plan, error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	in := inputs{now: t.Now().UTC(), forced: t.forced, last: t.last}
	groups, err := t.client.ScanGroups(ctx)
	if err != nil {
		return plan{}, failed("read:groups", "NinjaOne's scan groups could not be read.", err)
	}
	group, bad := GroupOf(groups, t.groupName())
	if bad != nil {
		return plan{}, unread{Problem: *bad}
	}
	in.group = group
	if in.exceptions, err = t.CIPP.CVEExceptions(ctx, t.ref, in.now); err != nil {
		return plan{}, failed("read:exceptions", "CIPP's exceptions of vulnerabilities could not be read.", err)
	}
	if in.names, err = t.names(ctx, in.group.Mapping); err != nil {
		return plan{}, err
	}
	if err := t.source(ctx, &in); err != nil {
		return plan{}, err
	}
	return decide(in)
}

// names reads which devices NinjaOne has. It asks by its id for a device that was there
// and is not listed. Without evidence that the device is gone its CVEs would count as
// mended.
func (t *turn) names(ctx context.Context, mapping string) (*names, error) {
	matches, err := devicematch.Load(ctx, t.Files.Blobs, t.ref.ID)
	if err != nil {
		return nil, err
	}
	if matches.Digest == "" {
		return nil, unread{Problem: problems.Problem{Key: "read:matches", Notice: true,
			Message: "The tenant has had no sync yet, so it is not known which device is which. Its vulnerabilities are uploaded after the first sync."}}
	}
	var known []int
	for _, p := range matches.Pairs {
		known = append(known, p.NinjaOneID)
	}
	shown, err := t.Files.Exposure(ctx, t.ref.ID)
	if err != nil {
		return nil, err
	}
	if shown != nil {
		for _, d := range shown.Devices {
			known = append(known, d.NinjaOneID)
		}
	}
	const what = "NinjaOne's devices could not be read."
	devices, foreign, err := t.client.Devices(ctx, t.organizationID)
	if err != nil {
		return nil, failed("read:devices", what, err)
	}
	roster, err := devicematch.JudgeDevices(ctx, t.client, t.organizationID, devices, foreign, known)
	switch {
	case err != nil:
		return nil, failed("read:devices", what, err)
	case !roster.Known():
		return nil, failed("read:devices", what, errors.New(roster.Odd[0].Message))
	}
	by, _ := identifierOf(mapping) // GroupOf saw that it is known
	return newNames(by, roster.Devices, matches), nil
}

// permission words what the app needs.
const permission = "Vulnerability.Read (delegated), or Vulnerability.Read.All with GRAPH_AUTH application, of WindowsDefenderATP"

// source reads what Microsoft reports: its export, or CIPP's cache where the app may
// not read that.
func (t *turn) source(ctx context.Context, in *inputs) error {
	in.found, in.source, in.sourceAt = newFound(ctx), SourceDefender, in.now
	err := t.Defender.Vulnerabilities(ctx, t.ref, in.found.add, in.found.kept)
	switch {
	case err == nil:
		return nil
	case m365.ServiceMissing(err):
		return unread{Problem: problems.Problem{Key: "read:licence", Notice: true,
			Message: "The tenant has no Defender for Endpoint, so there are no vulnerabilities to upload. What NinjaOne shows stays as it is."}}
	case !errors.Is(err, m365.ErrNotGranted):
		return failed("read:defender", "Defender's vulnerabilities could not be read.", err)
	}
	return t.cached(ctx, in)
}

// CIPP's cache.
const (
	cachedType = "DefenderCVEs"
	cacheLife  = 48 * time.Hour
)

// cachedCVE is one object of CIPP's cache: a CVE with its devices.
type cachedCVE struct {
	wire.Vulnerability                 // without its device
	Details            json.RawMessage `json:"deviceDetailsJson"` // a text that holds one device, or a list of them
	Updated            string          `json:"lastUpdated"`
}

// cached reads CIPP's cache. An old or incomplete cache is not evidence.
func (t *turn) cached(ctx context.Context, in *inputs) error {
	const key = "read:cache"
	refuse := func(format string, args ...any) error {
		return unread{Problem: problems.Problem{Key: key, Message: "The app may not read Defender's vulnerabilities itself, and CIPP's cache of them does not serve either: " + fmt.Sprintf(format, args...) +
			" Nothing is sent, and what NinjaOne shows stays. Grant the app " + permission + ": run CIPP's permission check with a CPV refresh for the tenant."}}
	}
	in.found, in.source, in.sourceAt = newFound(ctx), SourceCache, time.Time{}
	items, odd := 0, 0
	for item, err := range t.CIPP.Reporting(ctx, t.ref.DefaultDomain, cachedType) {
		if err != nil {
			return failed(key, "CIPP's cache of vulnerabilities could not be read.", err)
		}
		items++
		var c cachedCVE
		if reply.Unmarshal(item.Data, &c) != nil {
			odd++
			continue
		}
		at, ok := isotime.Parse(c.Updated)
		if !ok {
			at = item.Written
		}
		if in.sourceAt.IsZero() || at.Before(in.sourceAt) {
			in.sourceAt = at.UTC()
		}
		devices, ok := detailsOf(c.Details)
		if !ok {
			odd++
			continue
		}
		for _, d := range devices {
			v := c.Vulnerability
			v.DeviceID, v.DeviceName, v.SoftwareVersion = d.DeviceID, d.DeviceName, d.SoftwareVersion
			if err := in.found.add(&v); err != nil {
				return failed(key, "CIPP's cache of vulnerabilities could not be read.", err)
			}
		}
	}
	counted, _, err := t.CIPP.ReportingCount(ctx, t.ref.DefaultDomain, cachedType)
	switch age := in.now.Sub(in.sourceAt); {
	case err != nil:
		return failed(key, "CIPP's cache of vulnerabilities could not be read.", err)
	case items == 0:
		return refuse("it holds none of the tenant.")
	case odd > 0 || items < counted:
		return refuse("it is not whole, with %d of %d CVEs that can be read.", items-odd, max(items, counted))
	case age >= cacheLife:
		return refuse("it is of %s, more than 48 hours ago.", in.sourceAt.Format(time.DateOnly))
	}
	return nil
}

// detailsOf reads the devices of a cached CVE: an object or a list, or a text of either.
func detailsOf(data json.RawMessage) ([]wire.Vulnerability, bool) {
	var text string
	if json.Unmarshal(data, &text) == nil {
		data = json.RawMessage(strings.TrimSpace(text))
	}
	switch {
	case len(data) > 0 && data[0] == '[':
		var many []wire.Vulnerability
		err := reply.Unmarshal(data, &many)
		return many, err == nil
	case len(data) > 0 && data[0] == '{':
		var one wire.Vulnerability
		err := reply.Unmarshal(data, &one)
		return []wire.Vulnerability{one}, err == nil
	}
	return nil, false
}
