package match

import (
	"strings"

	"cipp-ninjaone/handler/internal/ninjaone"
)

// unmatchable says why a NinjaOne device cannot be an Intune device; "" when it can.
func unmatchable(d *ninjaone.Device) string {
	switch {
	case !manageable(d.NodeClass):
		return "NinjaOne monitors it as " + d.NodeClass + ", a kind of device that Intune does not manage"
	case d.ApprovalStatus == "DECOMMISSIONED":
		return "it is decommissioned in NinjaOne"
	case d.ApprovalStatus == "PENDING":
		return "nobody has approved it in NinjaOne yet"
	}
	return ""
}

// manageable reports whether a device of the NinjaOne node class can be one that Intune
// manages too. Network equipment, virtual machines seen from their host, and cloud
// targets are not. The same virtual machine may be in NinjaOne a second time, with an
// agent.
func manageable(nodeClass string) bool {
	switch {
	case strings.HasPrefix(nodeClass, "NMS_"),
		nodeClass == "CLOUD_MONITOR_TARGET",
		nodeClass == "VMWARE_VM_HOST",
		nodeClass == "VMWARE_VM_GUEST",
		nodeClass == "HYPERV_VMM_GUEST":
		return false
	}
	return true
}

// platforms are the operating systems that tell devices of one name apart. Each row has
// how Intune's operatingSystem and NinjaOne's nodeClass begin.
var platforms = []struct{ intune, ninja, platform string }{
	{"windows", "WINDOWS_", "windows"},
	{"macos", "MAC", "macos"},
	{"linux", "LINUX_", "linux"},
	{"android", "ANDROID", "android"},
	{"ios", "APPLE_IOS", "ios"},
	{"ipados", "APPLE_IPADOS", "ios"},
}

// contradict reports whether Intune and NinjaOne say for sure that two
// devices run different operating systems.
func contradict(operatingSystem, nodeClass string) bool {
	var a, b string
	for _, p := range platforms {
		if strings.HasPrefix(strings.ToLower(operatingSystem), p.intune) {
			a = p.platform
		}
		if strings.HasPrefix(nodeClass, p.ninja) {
			b = p.platform
		}
	}
	return a != "" && b != "" && a != b
}
