package compose

import (
	"cmp"
	"slices"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/match"
)

// maxExposed is how many devices the tenant's card of vulnerabilities lists.
const maxExposed = 5

const iconVulnerabilities = "fas fa-bug"

// severityTones are the colours of severities, which the words beside them name.
var severityTones = map[exposure.Severity]tone{
	exposure.Critical: bad, exposure.High: warning, exposure.Medium: information, exposure.Low: neutral, exposure.Unrated: rest,
}

// severity names a severity, with a sign of its own for the two worst.
func severity(s exposure.Severity) line {
	l := line{Text: string(s), Tone: severityTones[s]}
	switch s {
	case exposure.Critical:
		l.Icon = iconBad
	case exposure.High:
		l.Icon = iconWarning
	}
	return l
}

// vulnerabilitiesCard shows what the last file of vulnerabilities said that
// NinjaOne took. There is none where no file was kept.
func (x *index) vulnerabilitiesCard() (card, bool) {
	e := x.in.Exposure
	if e == nil {
		return card{}, false
	}
	c := card{Width: full, Icon: iconVulnerabilities, Title: "Vulnerabilities", Href: x.links.defender("")}
	if e.Open.Total() == 0 {
		return c.with(lines(line{Icon: iconGood, Tone: good, Text: "No open CVEs."}, uploaded(e))), true
	}
	var all []share
	for _, s := range exposure.Severities {
		if n := e.Open[s]; n > 0 || s != exposure.Unrated { // Defender rates nearly all
			all = append(all, share{severityTones[s], string(s), n})
		}
	}
	c.Bars = []bar{shares(plural(e.Open.Total(), "open CVE", "open CVEs")+" by severity", all...)}
	c.Lines = lines(line{Text: "Open on " + plural(len(e.Devices), "device", "devices") + " that NinjaOne has."}, uploaded(e))
	devices := slices.SortedFunc(slices.Values(e.Devices), exposure.Compare)
	c.Table = &table{
		Head: []string{"Most exposed devices", "Critical", "High", "Medium", "Low"},
		Noun: [2]string{"device", "devices"},
		Full: line{Text: "Defender", Href: c.Href},
	}
	for _, d := range devices[:min(len(devices), maxExposed)] {
		cells := []cell{lines(line{Text: orElse(d.Name, "No name"), Href: x.links.ninjaDevice(d.NinjaOneID)})}
		for _, s := range exposure.Severities[:4] {
			cells = append(cells, one(count(d.Open[s])))
		}
		c.Table.Rows = append(c.Table.Rows, row{Cells: cells})
	}
	return c, true
}

// uploaded says from which day a card of vulnerabilities is.
func uploaded(e *exposure.Tenant) line {
	return line{Icon: iconInfo, Text: "As uploaded to NinjaOne on " + orElse(date(e.Day), "a day that is not known")}
}

// vulnerabilitiesCard shows the worst CVEs of a device. There is none for a device that
// the last file does not name. Defender may not know it. The card counts only what it
// lists, and only the tenant's card shows the day. Otherwise each upload would cost a
// call for every device.
func (x *Devices) vulnerabilitiesCard(p match.Pair) (card, bool) {
	d, ok := x.exposed[p.Ninja.ID]
	if !ok {
		return card{}, false
	}
	c := card{Width: full, Icon: iconVulnerabilities, Title: "Vulnerabilities", Href: x.links.defender("")}
	worst := d.Open[exposure.Critical] + d.Open[exposure.High]
	if worst == 0 {
		return c.with(lines(line{Icon: iconGood, Tone: good, Text: "No critical or high CVEs."})), true
	}
	c.Lines = one(count(d.Open[exposure.Critical]) + " critical, " + count(d.Open[exposure.High]) + " high")
	c.Table = &table{
		Head:  []string{"CVE", "Severity", "Software", "Fixed with"},
		Noun:  [2]string{"CVE", "CVEs"},
		Full:  line{Text: "Defender", Href: c.Href},
		Order: "The worst first",
		Total: worst,
	}
	list := slices.SortedFunc(slices.Values(d.Worst), func(a, b exposure.CVE) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), byName(a.ID, b.ID, a.Software, b.Software, a.Version, b.Version))
	})
	for _, v := range list[:min(len(list), exposure.Shown)] {
		software := line{Text: orElse(v.Software, "Not known")}
		if version := text(v.Version); version != "" {
			software.Tail = version
		}
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			one(orElse(v.ID, "No id")), lines(severity(v.Severity)), lines(software),
			lines(line{Text: orElse(v.Fixed, "No fix is known"), Href: tenantURL(v.FixedURL)}),
		}})
	}
	return c, true
}
