package ninjasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// maxPageSize is the largest page of the lists paged by "after". The instance refuses a larger
// pageSize. NinjaOne documents no maximum, and a client must not take a shortened page for the last
// one.
const maxPageSize = 1000

// epoch is a point in time as NinjaOne writes it: seconds since 1970, always with a fraction, or milliseconds.
func (s *Server) epoch(t time.Time) json.Number {
	if s.config.Milliseconds {
		return json.Number(fmt.Sprintf("%d", t.UnixMilli()))
	}
	return json.Number(fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
}

// page cuts a list, sorted by id, by the after and pageSize parameters.
func page[T any](s *Server, c *call, list []T, id func(T) int) ([]T, *reply) {
	size := maxPageSize
	if text := c.query.Get("pageSize"); text != "" {
		size, _ = strconv.Atoi(text)
		if size < 1 || size > maxPageSize {
			return nil, new(s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_page_size", map[string]any{"max": maxPageSize})))
		}
	}
	after, _ := strconv.Atoi(c.query.Get("after"))
	start := 0
	for start < len(list) && id(list[start]) <= after {
		start++
	}
	return list[start:min(start+size, len(list))], nil
}

// answerPage answers a page of a list in the shape that render gives each element.
func answerPage[T any](s *Server, c *call, list []T, id func(T) int, render func(T) map[string]any) reply {
	cut, refused := page(s, c, list, id)
	if refused != nil {
		return *refused
	}
	body := make([]map[string]any, 0, len(cut))
	for _, element := range cut {
		body = append(body, render(element))
	}
	return answer(body)
}

func (s *Server) listOrganizations(c *call) reply {
	list := inOrder(s.organizations, func(Organization) bool { return true })
	return answerPage(s, c, list, func(o Organization) int { return o.ID }, Organization.brief)
}

func (o Organization) brief() map[string]any {
	return map[string]any{"id": o.ID, "name": o.Name, "nodeApprovalMode": "AUTOMATIC"}
}

func (s *Server) getOrganization(c *call) reply {
	organization, ok := s.organizations[c.id]
	if !ok {
		return s.notFound(c, "organization")
	}
	body := organization.brief()
	body["locations"] = []any{map[string]any{"id": c.id, "name": "Main Office"}}
	return answer(body)
}

func (s *Server) listDevices(c *call) reply {
	list, refused := s.filteredDevices(c)
	if refused != nil {
		return *refused
	}
	return answerPage(s, c, list, func(d Device) int { return d.ID }, s.describeDevice)
}

// deviceFilter is the only filter that this project sends. The instance refuses the others
// that NinjaOne knows, and with NinjaOne those that it does not.
var deviceFilter = regexp.MustCompile(`^org = ([1-9][0-9]*)$`)

// filteredDevices lists the approved devices that the df parameter of a call wants, in
// ascending order of id.
func (s *Server) filteredDevices(c *call) ([]Device, *reply) {
	wants := func(d Device) bool { return !s.hidden[d.ID] && d.ApprovalStatus == "APPROVED" }
	filter := c.query.Get("df")
	if filter == "" {
		return inOrder(s.devices, wants), nil
	}
	organization := deviceFilter.FindStringSubmatch(filter)
	if organization == nil {
		return nil, new(s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_device_filter", map[string]any{"reason": "not the devices of one organization"})))
	}
	id, _ := strconv.Atoi(organization[1])
	return s.wantedOf(id, wants), nil
}

func (s *Server) getDevice(c *call) reply {
	device, ok := s.devices[c.id]
	if !ok {
		return s.notFound(c, "device")
	}
	return answer(s.describeDevice(device))
}

// deviceNamespace makes the uid of a device out of its id.
var deviceNamespace = uuid.MustParse("4b7c3a52-6f0e-4c39-9a55-0d9b1c6e8f10")

// describeDevice is a device as the API answers it, with the blocks that the published
// document leaves out.
func (s *Server) describeDevice(d Device) map[string]any {
	body := map[string]any{
		"id": d.ID, "uid": uuid.NewSHA1(deviceNamespace, []byte(strconv.Itoa(d.ID))).String(),
		"organizationId": d.OrganizationID, "locationId": d.OrganizationID, "nodeClass": d.NodeClass, "approvalStatus": d.ApprovalStatus,
		"offline": d.Offline, "created": s.epoch(time.Date(2024, 1, 15, 9, 30, 0, 125_000_000, time.UTC)),
	}
	netbios := strings.ToUpper(d.SystemName)
	putTexts(body, "systemName", d.SystemName, "dnsName", d.DNSName, "displayName", d.DisplayName,
		"netbiosName", netbios[:min(len(netbios), 15)])
	if !d.LastContact.IsZero() {
		body["lastContact"], body["lastUpdate"] = s.epoch(d.LastContact), s.epoch(d.LastContact)
	}
	system := map[string]any{"virtualMachine": d.VirtualMachine}
	putTexts(system, "name", d.SystemName, "manufacturer", d.Manufacturer, "model", d.Model,
		"serialNumber", d.SerialNumber, "biosSerialNumber", d.BIOSSerialNumber, "chassisType", d.ChassisType)
	body["system"] = system
	if d.OSName != "" {
		body["os"] = map[string]any{"name": d.OSName}
	}
	putTexts(body, "lastLoggedInUser", d.LastLoggedInUser)
	if len(d.IPAddresses) > 0 {
		body["ipAddresses"] = d.IPAddresses
	}
	if len(d.MACAddresses) > 0 {
		body["macAddresses"] = d.MACAddresses
	}
	return body
}

// putTexts adds the names and values that follow, but not empty values.
func putTexts(body map[string]any, namesAndValues ...string) {
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			body[namesAndValues[i]] = namesAndValues[i+1]
		}
	}
}
