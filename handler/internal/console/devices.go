package console

import (
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/cipp"
	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/words"
)

type devicesPage struct {
	Tenants    []option
	Tenant     string // id; "" when none is chosen
	Domain     string
	Kept       bool // the tenant was synced at least once
	Pairs      []pairRow
	Pager      pager
	IntuneOnly []devicematch.Leftover
	NinjaOnly  []devicematch.Leftover
	NinjaHost  string
	Search     string
	// Counts of all machines, whatever is searched for.
	Matched, Intune, Ninja int
}

type pairRow struct {
	devicematch.Pair
	Evidence string
}

// devices shows which devices of a tenant matched in its last sync.
func (c *Console) devices(x *exchange) error {
	p := devicesPage{Tenant: strings.ToLower(x.value("tenant")), Search: x.value("q")}
	mapped, _, err := c.CIPP.Mapped(x.ctx())
	if err != nil {
		return err
	}
	p.Tenants = tenantOptions(mapped, &p.Tenant, &p.Domain)
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
			p.Pairs = append(p.Pairs, pairRow{k, pairEvidence(k.Evidence)})
		}
	}
	slices.SortStableFunc(p.Pairs, func(a, b pairRow) int {
		return words.Compare(a.Name+a.NinjaOneName, b.Name+b.NinjaOneName)
	})
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
	slices.SortStableFunc(out, func(a, b devicematch.Leftover) int {
		return words.Compare(a.Name, b.Name)
	})
	return out
}

func pairEvidence(e match.Evidence) string {
	text := map[match.Kind]string{match.KindSerial: "Serial number ", match.KindName: "Name "}[e.Kind] + e.Value
	if e.Note != "" {
		text += " (" + e.Note + ")"
	}
	return text
}

// tenantOptions lists tenants to choose from. It makes an id empty that is not among
// them.
func tenantOptions(tenants []cipp.MappedTenant, chosen, domain *string) []option {
	list := []option{}
	known := false
	for _, t := range tenants {
		if t.ID == *chosen {
			known, *domain = true, t.DefaultDomain
		}
		list = append(list, option{t.ID, tenantName(t.Tenant) + " (" + t.DefaultDomain + ")", t.ID == *chosen})
	}
	if !known {
		*chosen = ""
	}
	slices.SortStableFunc(list, func(a, b option) int { return words.Compare(a.Label, b.Label) })
	return list
}
