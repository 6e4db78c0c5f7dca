package match

import "fmt"

// devicesWhy words a match by devices.
func devicesWhy(n, shared int) string {
	if n == 1 {
		return "the tenant's only device with a real serial number is in the organization, and in no other"
	}
	if n == shared {
		return fmt.Sprintf("all %d devices that the tenant shares with NinjaOne are in the organization", n)
	}
	return fmt.Sprintf("%d of the %d devices that the tenant shares with NinjaOne are in the organization", n, shared)
}

// contradictedWhy words why the devices in an organization speak against its
// name.
func contradictedWhy(own, others int) string {
	return fmt.Sprintf("the organization with its name has %d devices of other tenants and %d of its own", others, own)
}

// nameReason words why a tenant's name did not decide.
func (m *organizationMatcher) nameReason(c *contender) string {
	switch {
	case len(c.similar) == 0 && len(c.exact) == 0:
		return "no organization has its name"
	case len(c.exact) > 1:
		return several(len(c.exact), "organizations have its name")
	case len(c.similar) > 1:
		return several(len(c.similar), "organizations have names that equal its own apart from case, punctuation, accents and legal form")
	case m.namesakes[c.key] > 1:
		return several(m.namesakes[c.key], "tenants without an organization have this name, apart from case, punctuation, accents and legal form")
	default:
		return "the organization with its name is mapped to another tenant"
	}
}

// deviceReason words why a tenant's devices do not decide; "" when they do.
func (m *organizationMatcher) deviceReason(c *contender) string {
	id, n := c.most()
	index, listed := m.byID[id]
	devices := max(c.evidence.Devices, len(c.evidence.Serials))
	switch {
	case c.evidence.Unread != "":
		return "its devices could not be compared: " + c.evidence.Unread
	case devices == 0:
		return "it has no Intune devices to compare"
	case c.shared == 0:
		return "no organization has a device with the serial number of one of its Intune devices, or the number is not unique"
	case n < MinSharedDevices && len(c.devices) == 1 && listed && m.free(index) && m.onlyDevice(c) != "":
		return m.onlyDevice(c)
	case 2*n <= c.shared:
		return fmt.Sprintf("the %d devices that it shares with NinjaOne are in %d organizations, and none of these has more than half of them", c.shared, len(c.devices))
	case !listed:
		return "most of the devices that it shares with NinjaOne are in an organization that NinjaOne does not list"
	case !m.free(index):
		return "the organization with most of its devices is mapped to another tenant"
	case m.contradicted[index]:
		return "the organization with most of its devices has another tenant's name"
	case 2*n <= m.devicesIn[id]:
		return fmt.Sprintf("the organization with most of its devices has as many or more of other tenants' devices (%d of %d are its own)", n, m.devicesIn[id])
	}
	return ""
}
