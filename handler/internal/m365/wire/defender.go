package wire

// Vulnerability is one record of Defender's export of vulnerabilities by device. It is a
// CVE of one version of a software on one device. CIPP's cache keeps the same.
type Vulnerability struct {
	DeviceID        string `json:"deviceId"`
	DeviceName      string `json:"deviceName"` // fully qualified where the device is in a domain
	CVE             string `json:"cveId"`
	Severity        string `json:"vulnerabilitySeverityLevel"`
	SoftwareVendor  string `json:"softwareVendor"`
	SoftwareName    string `json:"softwareName"`
	SoftwareVersion string `json:"softwareVersion"`
	Update          string `json:"recommendedSecurityUpdate"`
	UpdateURL       string `json:"recommendedSecurityUpdateUrl"`
}
