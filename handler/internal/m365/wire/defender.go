package wire

import (
	"encoding/json"
	"errors"
	"io"

	"cipp-ninjaone/handler/internal/reply"
)

// Vulnerability is one record of Defender's export of vulnerabilities by device: a
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

// errNoRecord: a record of an export cannot be passed over, or what is left of the
// list would count as all there is.
var errNoRecord = errors.New("an element of it is not a record")

// StreamPage hands each record of a page to each, and keeps none. It returns the
// link to the next page and how many records there were. Like DecodePage it takes
// no answer that ends early for a whole one.
func StreamPage[T any](r io.Reader, each func(*T) error) (next string, records int, err error) {
	dec := json.NewDecoder(r)
	found := false
	err = reply.Members(dec, func(name string) error {
		switch name {
		case "value":
			if found {
				return errors.New(`it holds "value" twice`)
			}
			found = true
			return reply.Elements(dec, func() error {
				var item T
				fits, err := reply.Decode(dec, &item)
				switch {
				case err != nil:
					return err
				case !fits:
					return errNoRecord
				}
				records++
				return each(&item)
			})
		case "@odata.nextLink":
			return decodeLink(dec, &next)
		}
		return reply.Skip(dec)
	})
	switch {
	case err != nil:
		return "", records, err
	case !found:
		return "", records, errNoCollection
	}
	return next, records, reply.End(dec)
}
