package console

import (
	"strings"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
)

type devicesPage struct {
	choice
	Kept       bool // the tenant was synced at least once
	Pairs      []devicematch.Pair
	Pager      pager
	IntuneOnly []devicematch.Leftover
	NinjaOnly  []devicematch.Leftover
	NinjaHost  string
	Search     string
	// Counts of all machines, whatever is searched for.
	Matched, Intune, Ninja int
}

// devices shows which devices of a tenant matched in its last sync.
func (c *Console) devices(x *exchange) error {
	chosen, err := c.choose(x)
	if err != nil {
		return err
	}
	p := devicesPage{choice: chosen, Search: x.value("q")}
	if p.Tenant == "" {
		return c.show(x, "devices", "Devices", "", p)
	}
	if config, err := c.CIPP.NinjaOneConfig(x.ctx()); err == nil {
		p.NinjaHost, _ = ninjaone.NormalizeInstance(config.Instance) // without it there are no links
	}
	kept, err := devicematch.Load(x.ctx(), c.Blobs, p.Tenant)
	if err != nil {
		return err
	}
	p.Kept = kept.Digest != ""
	p.Matched, p.Intune, p.Ninja = len(kept.Pairs), len(kept.IntuneOnly), len(kept.NinjaOnly)
	for _, d := range kept.IntuneOnly {
		if d.Superseded {
			p.Intune--
		}
	}
	for _, k := range kept.Pairs {
		names := []string{k.Name, k.NinjaOneName, k.Evidence.Value}
		for _, c := range k.Contesting {
			names = append(names, c.Name)
		}
		if contains(p.Search, names...) {
			p.Pairs = append(p.Pairs, k)
		}
	}
	byName(p.Pairs, func(k devicematch.Pair) string { return k.Name + k.NinjaOneName })
	p.Pairs, p.Pager = paged(x, p.Pairs)
	p.IntuneOnly, p.NinjaOnly = found(p.Search, kept.IntuneOnly), found(p.Search, kept.NinjaOnly)
	return c.show(x, "devices", "Devices", "", p)
}

func found(search string, list []devicematch.Leftover) []devicematch.Leftover {
	var out []devicematch.Leftover
	for _, d := range list {
		if contains(search, d.Name, d.Serial, d.ID) {
			out = append(out, d)
		}
	}
	byName(out, func(d devicematch.Leftover) string { return d.Name })
	return out
}

func pairEvidence(e match.Evidence) string {
	text := map[match.Kind]string{match.KindSerial: "Serial number ", match.KindName: "Name "}[e.Kind] + e.Value
	if e.Note != "" {
		text += " (" + e.Note + ")"
	}
	return text
}

// choice is the tenant that a page is about, and all that it could be about.
type choice struct {
	Tenants        []option
	Tenant, Domain string // the tenant's id and default domain; "" when none is chosen
}

// choose finds the mapped tenant that the address names.
func (c *Console) choose(x *exchange) (p choice, err error) {
	mapped, _, err := c.CIPP.Mapped(x.ctx())
	for _, t := range mapped {
		chosen := strings.EqualFold(t.ID, x.value("tenant"))
		if chosen {
			p.Tenant, p.Domain = t.ID, t.DefaultDomain
		}
		p.Tenants = append(p.Tenants, option{t.ID, tenantName(t.Tenant) + " (" + t.DefaultDomain + ")", chosen})
	}
	byName(p.Tenants, func(o option) string { return o.Label })
	return p, err
}
