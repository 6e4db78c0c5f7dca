package compose

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cipp-ninjaone/handler/internal/exposure"
	"cipp-ninjaone/handler/internal/match"
	"cipp-ninjaone/handler/internal/tenant"
	"cipp-ninjaone/handler/internal/words"
)

// Devices composes the fields of one tenant's devices. It is safe for concurrent use.
type Devices struct {
	*index
	entra   map[string]*tenant.EntraDevice // by deviceId
	tree    groupTree                      // of devices
	exposed map[int]exposure.Device        // by NinjaOne id
}

// NewDevices prepares what the fields of all devices have in common.
func NewDevices(in Input) *Devices {
	x := &Devices{index: newIndex(in)}
	x.entra = greatest(in.Snapshot.EntraDevices.Value, func(a, b *tenant.EntraDevice) int {
		return cmp.Or(a.Registered.Compare(b.Registered), cmp.Compare(a.ID, b.ID))
	}, func(d *tenant.EntraDevice) string { return d.DeviceID })
	x.tree = newGroupTree(x.groups, tenant.MemberUser)
	if in.Exposure != nil {
		x.exposed = make(map[int]exposure.Device, len(in.Exposure.Devices))
		for _, d := range in.Exposure.Devices {
			if d.NinjaOneID != 0 {
				x.exposed[d.NinjaOneID] = d
			}
		}
	}
	return x
}

// directory returns the Entra device of a managed device, or nil.
func (x *Devices) directory(d *tenant.ManagedDevice) *tenant.EntraDevice {
	return x.entra[fold(d.AzureADDeviceID)] // nothing is under ""
}

// windows reports whether a device may have a BitLocker key and a local
// administrator password in Entra.
func windows(d *tenant.ManagedDevice) bool {
	return d.OperatingSystem == "" || strings.Contains(fold(d.OperatingSystem), "windows")
}

// deviceLinks composes DeviceLinks. Without the Entra object id the keys are
// looked up in the pages of all devices.
func (x *Devices) deviceLinks(p match.Pair) page {
	object := ""
	if e := x.directory(p.Intune); e != nil {
		object = e.ID
	}
	all := []line{
		{Icon: iconPortal, Text: "Entra", Href: x.links.entraDevice("Properties", object)},
		{Icon: iconDevices, Text: "Intune", Href: x.links.device(p.Intune.ID)},
		{Icon: iconView, Text: "CIPP", Href: x.links.deviceInCIPP(p.Intune.ID)},
	}
	if windows(p.Intune) {
		password, keys := x.links.entraDevice("LocalAdminPassword", object), x.links.entraDevice("BitlockerKeys", object)
		if object == "" {
			password, keys = x.links.entraDevices("LocalAdminPassword"), x.links.entraDevices("BitlockerKeys")
		}
		all = append(all,
			line{Icon: "fas fa-key", Text: "Local administrator password", Href: password},
			line{Icon: "fas fa-lock", Text: "BitLocker keys", Href: keys},
		)
	}
	return page{Cards: []card{{Width: full, Icon: "fas fa-link", Title: "Open this device in", Links: usable(all...)}}}
}

// deviceSummary composes DeviceSummary.
func (x *Devices) deviceSummary(p match.Pair) page {
	all := page{Cards: []card{
		x.deviceCard(p),
		x.hardwareCard(p.Intune),
		x.enrolmentCard(p.Intune),
		x.policiesCard(p.Intune),
		x.groupsCard(p.Intune),
	}}
	if c, ok := x.vulnerabilitiesCard(p); ok {
		all.Cards = append(all.Cards, c)
	}
	return all
}

func (x *Devices) deviceCard(p match.Pair) card {
	d := p.Intune
	user := one("None")
	if name := orElse(d.UserDisplayName, text(d.UserPrincipalName)); name != "" {
		user = lines(line{Text: name, Href: x.links.user(d.UserID)})
		if address := orElse(d.EmailAddress, text(d.UserPrincipalName)); address != "" && address != name {
			user.Lines = append(user.Lines, line{Text: address})
		}
	}
	matchedBy := map[match.Kind]string{match.KindSerial: "Serial number", match.KindName: "Name"}
	return card{Icon: iconDevices, Title: "Device", Href: x.links.device(d.ID), CIPP: x.links.deviceInCIPP(d.ID), Facts: known(
		factText("Name", d.DeviceName),
		fact{"Primary user", user},
		factText("Ownership", readable(d.OwnerType)),
		factText("Enrolled", date(d.Enrolled)),
		factText("Last check-in", bracket(d.LastSync, x.in.Today)),
		fact{"Compliance", lines(compliance(d.ComplianceState, d.ComplianceGraceUntil))},
		factText("Management", management(d)),
		fact{"Matched by", one(matchedBy[p.Evidence.Kind])},
		fact{"Note", one(text(p.Evidence.Note))},
		fact{"Claimed by", x.claims(p)},
		fact{"Older records", x.superseded(p.Superseded)},
	)}
}

func management(d *tenant.ManagedDevice) string {
	agent := readable(d.ManagementAgent)
	switch state := readable(d.ManagementState); {
	case state == "":
		return agent
	case agent == "":
		return state
	default:
		return agent + ", " + strings.ToLower(state)
	}
}

// claims lists the Intune devices that claim to be one machine, with the
// compliance of each. It lists none where only one does.
func (x *Devices) claims(p match.Pair) cell {
	if len(p.Contesting) == 0 {
		return cell{}
	}
	all := append([]*tenant.ManagedDevice{p.Intune}, p.Contesting...)
	slices.SortFunc(all, func(a, b *tenant.ManagedDevice) int {
		return byName(a.DeviceName, b.DeviceName, a.ID, b.ID)
	})
	c := cell{More: line{Href: x.links.devices()}}
	for _, d := range all {
		l := compliance(d.ComplianceState, d.ComplianceGraceUntil)
		l.Tail = "(" + l.Text + ", last check-in " + bracket(d.LastSync, x.in.Today) + ")"
		l.Text, l.Href = orElse(d.DeviceName, "No name"), x.links.device(d.ID)
		c.Lines = append(c.Lines, l)
	}
	return c
}

// superseded lists the other Intune records of the machine.
func (x *Devices) superseded(old []*tenant.ManagedDevice) cell {
	old = slices.Clone(old)
	slices.SortFunc(old, func(a, b *tenant.ManagedDevice) int {
		return byName(a.DeviceName, b.DeviceName, a.ID, b.ID)
	})
	c := cell{More: line{Href: x.links.devices()}}
	for _, d := range old {
		tail := "last check-in " + bracket(d.LastSync, x.in.Today)
		if day := date(d.Enrolled); day != "" {
			tail = "enrolled " + day + ", " + tail
		}
		c.Lines = append(c.Lines, line{Icon: iconInfo, Text: orElse(d.DeviceName, "No name"), Href: x.links.device(d.ID), Tail: "(" + tail + ")"})
	}
	return c
}

func (x *Devices) hardwareCard(d *tenant.ManagedDevice) card {
	return card{Icon: "fas fa-microchip", Title: "Hardware", Facts: known(
		factText("Serial number", d.SerialNumber),
		factText("Operating system", osName(d)),
		fact{"Chassis", one(readable(d.ChassisType))},
		factText("Model", d.Model),
		factText("Manufacturer", d.Manufacturer),
		fact{"Storage", lines(storage(d))},
		fact{"Memory", one(knownSize(d.PhysicalMemory))},
	)}
}

// storageStep is how finely a device's storage is shown, in percent. A disk
// moves by a few percent every week, and each change would cost a call for
// each device.
const storageStep = 5

func storage(d *tenant.ManagedDevice) line {
	if d.TotalStorage <= 0 {
		return line{Text: "Not known"}
	}
	total := size(d.TotalStorage)
	if d.FreeStorage <= 0 || d.FreeStorage > d.TotalStorage {
		return line{Text: total}
	}
	p := percent(float64(d.TotalStorage-d.FreeStorage), float64(d.TotalStorage))
	p = (p + storageStep/2) / storageStep * storageStep
	l := line{Text: total + ", about " + strconv.Itoa(p) + "% used"}
	t := information
	if p >= 90 {
		t, l.Icon, l.Tone = warning, iconWarning, warning
		l.Text += ", nearly full"
	}
	l.Bar = &bar{Plain: true, Parts: []part{{Tone: t, Percent: p}, {Tone: rest, Percent: 100 - p}}}
	return l
}

func (x *Devices) enrolmentCard(d *tenant.ManagedDevice) card {
	entra := x.directory(d)
	join := readable(d.JoinType)
	if entra != nil && join == "" {
		join = readable(entra.TrustType)
	}
	whyEnrolment, enrolmentLost := x.unknown(tenant.DetailEnrolment)
	whyAutopilot, autopilotLost := x.unknown(tenant.DetailAutopilot)
	joined := factText("Join type", join)
	switch {
	case join != "":
	case enrolmentLost:
		joined.Value = lines(whyEnrolment)
	case !x.snap.EntraDevices.OK():
		joined.Value = absent(x.snap.EntraDevices.Reason)
	}
	var autopilot cell
	switch {
	case d.Autopilot != nil:
		autopilot = one(yesNo(*d.Autopilot))
	case entra != nil && !autopilotLost:
		autopilot = one(yesNo(entra.Autopilot))
	case entra != nil:
		autopilot = lines(whyAutopilot)
	case enrolmentLost:
		autopilot = lines(whyEnrolment)
	}
	facts := known(
		factText("Type", readable(d.EnrollmentType)),
		joined,
		factText("Registration", readable(d.RegistrationState)),
		fact{"Autopilot", autopilot},
		fact{"Profile", one(text(d.EnrollmentProfile))},
	)
	if h := d.Hardware; h != nil {
		facts = append(facts,
			factText("Device Guard", readable(h.DeviceGuard)),
			factText("Virtualization based security", readable(h.VirtualizationBasedSecurity)),
			factText("Credential Guard", readable(h.CredentialGuard)),
		)
	} else if why, lost := x.unknown(tenant.DetailHardware); lost && windows(d) {
		facts = append(facts, fact{"Device Guard and Credential Guard", lines(why)})
	}
	encrypted := line{Icon: "fas fa-lock-open", Tone: warning, Text: "Not encrypted"}
	if d.Encrypted {
		encrypted = line{Icon: "fas fa-lock", Tone: good, Text: "Encrypted"}
	}
	return card{Icon: "fas fa-right-to-bracket", Title: "Enrolment", Facts: append(facts, fact{"Encryption", lines(encrypted)})}
}

// policiesCard shows the compliance policies of a device that does not comply,
// with the settings that fail. The states of other devices are not read.
func (x *Devices) policiesCard(d *tenant.ManagedDevice) card {
	c := card{Width: full, Icon: iconStandard, Title: "Compliance policies", Href: x.links.device(d.ID)}
	switch ComplianceText(d.ComplianceState) {
	case "Compliant":
		return c.with(lines(line{Icon: iconGood, Tone: good, Text: "The device meets its compliance policies."}))
	case "":
		return c.with(lines(line{Icon: iconUnknown, Text: "Intune has not judged this device: " + compliance(d.ComplianceState, time.Time{}).Text}))
	}
	part := x.snap.PolicyStates
	states := slices.Clone(part.Value[d.ID])
	switch {
	case !part.OK():
		return c.with(absent(part.Reason))
	case len(states) == 0 && x.snap.Unknown[tenant.DetailPolicies].Reason != "":
		return c.with(absent(x.snap.Unknown[tenant.DetailPolicies].Reason))
	case len(states) == 0:
		return c.with(absent("Intune reported no policies for this device"))
	}
	slices.SortStableFunc(states, func(a, b tenant.PolicyState) int {
		return byName(a.Policy, b.Policy, a.Platform, b.Platform, a.State, b.State)
	})
	c.Table = &table{
		Head: []string{"Policy", "User", "State", "Settings that fail", "Last report", "Grace until"},
		Noun: [2]string{"policy", "policies"},
		Full: line{Text: "The device in Intune", Href: c.Href},
	}
	grace := orElse(date(d.ComplianceGraceUntil), "–")
	for _, s := range states {
		until := "–"
		if ComplianceText(s.State) == "Non-Compliant" {
			until = grace
		}
		c.Table.Rows = append(c.Table.Rows, row{Class: rowState(s.State), Cells: []cell{
			lines(line{Text: orElse(s.Policy, "No name"), Tail: platform(s.Platform)}),
			x.policyUsers(d, s),
			lines(compliance(s.State, d.ComplianceGraceUntil)),
			x.failing(s),
			one(bracket(d.LastSync, x.in.Today)),
			one(until),
		}})
	}
	return c
}

func platform(s string) string {
	if s = readable(s); s == "" {
		return ""
	}
	return "(" + s + ")"
}

// policyUsers names for whom a policy was evaluated: the users of its
// settings, else the device's primary user.
func (x *Devices) policyUsers(d *tenant.ManagedDevice, s tenant.PolicyState) cell {
	var names []string
	for _, v := range s.Settings {
		if name := text(v.UserName); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return one(orElse(d.UserPrincipalName, "–"))
	}
	slices.SortFunc(names, words.Compare)
	var c cell
	for _, n := range names {
		c.Lines = append(c.Lines, line{Text: n})
	}
	return c
}

// failing lists the settings of a policy that a device does not meet. It says so where
// they are not known, or not all.
func (x *Devices) failing(p tenant.PolicyState) cell {
	settings := slices.Clone(p.Settings)
	slices.SortStableFunc(settings, func(a, b tenant.SettingState) int {
		return byName(a.Setting, b.Setting, a.State, b.State, a.CurrentValue, b.CurrentValue, a.UserName, b.UserName, a.ErrorDescription, b.ErrorDescription)
	})
	var c cell
	for _, s := range settings {
		l := compliance(s.State, time.Time{})
		state := l.Text
		l.Text = orElse(s.Setting, "No name")
		l.Tail = "(" + state
		if v := text(s.CurrentValue); v != "" {
			l.Tail += "; is " + v
		}
		if e := text(s.ErrorDescription); e != "" {
			l.Tail += "; " + e
		}
		l.Tail += ")"
		c.Lines = append(c.Lines, l)
	}
	if p.Unread {
		c.Lines = append(c.Lines, unavailableLine(cmp.Or(x.snap.Unknown[tenant.DetailSettings].Reason, "Intune did not say which settings fail")))
	}
	if len(c.Lines) == 0 {
		return one("–")
	}
	return c
}

func (x *Devices) groupsCard(d *tenant.ManagedDevice) card {
	c := card{Width: full, Icon: iconGroups, Title: "Groups", Href: x.links.groups(), CIPP: x.links.inCIPP(cippGroups)}
	entra := x.directory(d)
	if entra != nil {
		c.Href = x.links.entraDevice("Properties", entra.ID)
	}
	switch {
	case !x.snap.Groups.OK():
		return c.with(absent(x.snap.Groups.Reason))
	case entra == nil && d.AzureADDeviceID == "":
		return c.with(one("The device is not registered in Entra."))
	case entra == nil && !x.snap.EntraDevices.OK():
		return c.with(absent(x.snap.EntraDevices.Reason))
	case entra == nil:
		return c.with(absent("Entra has no device with the id that Intune reports"))
	}
	all := x.tree.of(entra.ID)
	if len(all) == 0 {
		return c.with(one("The device is in no group."))
	}
	c.Table = &table{
		Head: []string{"Group", "Type", "Membership"},
		Noun: [2]string{"group", "groups"},
		Full: line{Text: "The device in Entra", Href: c.Href},
	}
	for _, m := range all {
		c.Table.Rows = append(c.Table.Rows, row{Cells: []cell{
			lines(line{Text: orElse(m.group.DisplayName, "No name"), Href: x.links.group(m.group.ID)}),
			one(groupType(m.group)),
			one(m.how()),
		}})
	}
	return c
}
