package tenantsync

import (
	"fmt"
	"strings"

	"cipp-ninjaone/handler/internal/match"
)

// maxContested is how many contested devices a run names.
const maxContested = 10

// tellContested tells of the NinjaOne devices that several Intune devices in use
// claim to be.
func (j *job) tellContested(result match.Result) {
	told := 0
	for _, p := range result.Pairs {
		if len(p.Contesting) == 0 {
			continue
		}
		if told++; told > maxContested {
			j.problems.count("contested:more", "", func(n int, _ string) string {
				return fmt.Sprintf("Several Intune devices in use claim to be one NinjaOne device %d times more; the console's devices page lists them.", n)
			})
			continue
		}
		claims := []string{fmt.Sprintf("%q (%s)", p.Intune.DeviceName, p.Intune.ID)}
		for _, c := range p.Contesting {
			claims = append(claims, fmt.Sprintf("%q (%s)", c.DeviceName, c.ID))
		}
		j.problems.add(fmt.Sprint("contested:", p.Ninja.ID), "NinjaOne device %d (%s): %d Intune devices in use claim to be it, by its %s: %s. "+
			"It shows the worse compliance of them. Remove from Intune the one that is not this machine.",
			p.Ninja.ID, nameOf(p.Ninja), len(claims), map[match.Kind]string{match.KindSerial: "serial number", match.KindName: "name"}[p.Evidence.Kind], strings.Join(claims, ", "))
	}
}
