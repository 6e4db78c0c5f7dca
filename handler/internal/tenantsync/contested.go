package tenantsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cipp-ninjaone/handler/internal/devicematch"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/tenant"
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
			j.problems.Count("contested:more", "", func(n int, _ string) string {
				return fmt.Sprintf("Several Intune devices in use claim to be one NinjaOne device %d times more; the console's devices page lists them.", n)
			})
			continue
		}
		claims := []string{fmt.Sprintf("%q (%s)", p.Intune.DeviceName, p.Intune.ID)}
		for _, c := range p.Contesting {
			claims = append(claims, fmt.Sprintf("%q (%s)", c.DeviceName, c.ID))
		}
		j.problems.Add(fmt.Sprint("contested:", p.Ninja.ID), "NinjaOne device %d (%s): %d Intune devices in use claim to be it, by its %s: %s. "+
			"It shows the worse compliance of them. Remove from Intune the one that is not this machine.",
			p.Ninja.ID, devicematch.NameOf(p.Ninja), len(claims), map[match.Kind]string{match.KindSerial: "serial number", match.KindName: "name"}[p.Evidence.Kind], strings.Join(claims, ", "))
	}
}

// matchDevices matches the devices of Intune and NinjaOne, and tells what is
// not clear about them. A device that came without its serial number stays with
// the NinjaOne device that its serial number led to before.
func (j *job) matchDevices(ctx context.Context, in *reading) (match.Result, error) {
	devices := in.snapshot.ManagedDevices.Value
	if slices.ContainsFunc(devices, func(d tenant.ManagedDevice) bool { return strings.TrimSpace(d.SerialNumber) == "" }) {
		former, err := devicematch.Load(ctx, j.Blobs, j.ref.ID)
		if err != nil {
			return match.Result{}, err
		}
		pairs := map[string]int{}
		for _, p := range former.Pairs {
			if p.Evidence.Kind == match.KindSerial {
				pairs[p.ManagedDeviceID] = p.NinjaOneID
			}
		}
		devices = match.WithFormerSerials(devices, in.devices, pairs)
		in.snapshot.ManagedDevices.Value = devices
	}
	if in.nameless() {
		j.problems.Add("devices:nameless", "Intune listed devices without their id and serial number. Which they are is not known, so no device's fields are cleared until Intune lists them whole.")
	}
	unjudged := 0
	for _, d := range devices {
		if d.ComplianceState == "" && !nameless(d) {
			unjudged++
		}
	}
	if unjudged > 0 {
		j.problems.Add("devices:unjudged", "Intune listed %d devices without a compliance state that can be read. What NinjaOne shows of their compliance stays as it is.", unjudged)
	}
	result := match.Devices(devices, in.devices)
	j.tellContested(result)
	return result, nil
}

// nameless reports whether nothing tells which machine a record of Intune's is.
func nameless(d tenant.ManagedDevice) bool {
	return d.ID == "" && strings.TrimSpace(d.SerialNumber) == ""
}

// nameless reports whether Intune listed devices that may be any of those that
// the list otherwise lacks.
func (in *reading) nameless() bool {
	return in.snapshot.DevicesKnown() && slices.ContainsFunc(in.snapshot.ManagedDevices.Value, nameless)
}
