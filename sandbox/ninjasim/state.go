package ninjasim

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"cipp-ninjaone/sandbox/ninjasim/wysiwyg"
)

// Organization is a customer of the managed service provider. Each has one location, with the organization's id.
type Organization struct {
	ID   int
	Name string
}

// Device is a machine with the NinjaOne agent. Empty texts are left out of answers, as NinjaOne does.
type Device struct {
	ID, OrganizationID int
	// NodeClass is one of the classes of the contract, WINDOWS_WORKSTATION when empty.
	NodeClass string
	// ApprovalStatus is PENDING, STAGED, APPROVED or DECOMMISSIONED; APPROVED when empty.
	ApprovalStatus                           string
	SystemName, DNSName, DisplayName         string
	SerialNumber, BIOSSerialNumber           string
	Manufacturer, Model, ChassisType, OSName string
	LastLoggedInUser                         string // DOMAIN\user
	VirtualMachine, Offline                  bool
	IPAddresses, MACAddresses                []string
	LastContact                              time.Time
}

// CustomField is the definition of a custom field. Empty permissions stand for NONE.
type CustomField struct {
	// Name is the key in value reads and writes, Label what technicians see; Label defaults to Name.
	Name, Label string
	// Type is one of the types of the contract, such as WYSIWYG or TEXT.
	Type string
	// APIPermission and ScriptPermission are NONE, READ_ONLY, WRITE_ONLY or READ_WRITE; TechnicianPermission is NONE, EDITABLE or READ_ONLY.
	APIPermission, TechnicianPermission, ScriptPermission string
	// DefinitionScope holds NODE, END_USER, LOCATION, ORGANIZATION; NODE when empty.
	DefinitionScope []string
}

// Kind is what a custom field's value belongs to.
type Kind string

// The kinds of target, in the words of definitionScope.
const (
	OrganizationKind Kind = "ORGANIZATION"
	DeviceKind       Kind = "NODE"
)

// Target is one organization or device.
type Target struct {
	Kind Kind
	ID   int
}

// Write is one accepted change of custom field values through the API.
type Write struct {
	Target
	Time      time.Time
	RequestID string   // x-nj-request-id of the answer
	Fields    []string // names of the fields set, in alphabetical order
	Cleared   []string // names of the fields cleared, in alphabetical order
	Repeated  []string // names of the fields that had the very same value before, or none and were cleared
	Token     int      // which access token it came with, in the order in which they were issued, from 1
}

// FieldValue is the value that a custom field has.
type FieldValue struct {
	Sent    string   // as it was sent: markup of a WYSIWYG field, text, or the JSON of any other value
	Clean   string   // as NinjaOne keeps it: for a WYSIWYG field what survives its allow-list, else the same as Sent
	Text    string   // the plain text of Clean
	Removed []string // what the allow-list removed from Sent, in words
	// UpdatedBy is API or USER, UpdatedAt when.
	UpdatedBy string
	UpdatedAt time.Time
}

// storedValue is a value at rest. The allow-list is applied when somebody looks, because most values are never read back.
type storedValue struct {
	sent      string
	value     any // as answered, except for WYSIWYG
	rich      bool
	updatedBy string
	updatedAt time.Time
	look      func() FieldValue
}

func newStoredValue(sent string, value any, rich bool, by string, at time.Time) *storedValue {
	v := &storedValue{sent: sent, value: value, rich: rich, updatedBy: by, updatedAt: at}
	v.look = sync.OnceValue(func() FieldValue {
		field := FieldValue{Sent: sent, Clean: sent, Text: sent, UpdatedBy: by, UpdatedAt: at}
		if rich {
			field.Clean, field.Removed = wysiwyg.Sanitize(sent)
			field.Text = wysiwyg.Text(field.Clean)
		}
		return field
	})
	return v
}

// answered is the value in the shape that reads return it in.
func (s *Server) answered(v *storedValue) any {
	switch {
	case !v.rich:
		return v.value
	case s.config.HTMLAsSent:
		return map[string]any{"html": v.sent}
	}
	field := v.look()
	return map[string]any{"html": field.Clean, "text": field.Text}
}

// AddOrganization adds an organization or replaces the one with that id.
func (s *Server) AddOrganization(o Organization) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organizations[o.ID] = o
}

// RemoveOrganization deletes an organization with its devices and all their values, as an administrator would.
func (s *Server) RemoveOrganization(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.organizations, id)
	delete(s.values, Target{OrganizationKind, id})
	for _, document := range s.documentation.documents {
		if document.OrganizationID == id {
			s.removeDocument(document.ID)
		}
	}
	for _, device := range slices.Clone(s.devicesOf[id]) {
		s.removeDevice(device)
	}
}

// AddDevice adds a device or replaces the one with that id.
func (s *Server) AddDevice(d Device) {
	d.NodeClass = cmp.Or(d.NodeClass, "WINDOWS_WORKSTATION")
	d.ApprovalStatus = cmp.Or(d.ApprovalStatus, "APPROVED")
	s.mu.Lock()
	defer s.mu.Unlock()
	code := "NODE_CREATED"
	if _, there := s.devices[d.ID]; there {
		code = "NODE_UPDATED"
	}
	s.takeOut(d.ID)
	s.put(d)
	s.happened(code, d.ID)
}

// put keeps a device that is in no organization yet.
func (s *Server) put(d Device) {
	s.devices[d.ID] = d
	list := s.devicesOf[d.OrganizationID]
	at, _ := slices.BinarySearch(list, d.ID)
	s.devicesOf[d.OrganizationID] = slices.Insert(list, at, d.ID)
}

// takeOut takes a device, if there is one, out of its organization.
func (s *Server) takeOut(id int) {
	device, ok := s.devices[id]
	if !ok {
		return
	}
	delete(s.devices, id)
	list := s.devicesOf[device.OrganizationID]
	if at, ok := slices.BinarySearch(list, id); ok {
		s.devicesOf[device.OrganizationID] = slices.Delete(list, at, at+1)
	}
}

// MoveDevice puts a device into another organization; its values stay with it.
func (s *Server) MoveDevice(id, organizationID int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if device, ok := s.devices[id]; ok {
		s.takeOut(id)
		device.OrganizationID = organizationID
		s.put(device)
		s.happened("NODE_UPDATED", id)
	}
}

// RemoveDevice deletes a device with its values.
func (s *Server) RemoveDevice(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeDevice(id)
}

func (s *Server) removeDevice(id int) {
	s.takeOut(id)
	delete(s.values, Target{DeviceKind, id})
	s.removeRelationsOf("NODE", id)
	s.happened("NODE_DELETED", id)
}

// AddCustomField adds a definition or replaces the one of that name; values stay.
func (s *Server) AddCustomField(f CustomField) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addCustomField(f)
}

func (s *Server) addCustomField(f CustomField) {
	f.Label = cmp.Or(f.Label, f.Name)
	f.APIPermission = cmp.Or(f.APIPermission, "NONE")
	f.TechnicianPermission = cmp.Or(f.TechnicianPermission, "NONE")
	f.ScriptPermission = cmp.Or(f.ScriptPermission, "NONE")
	if len(f.DefinitionScope) == 0 {
		f.DefinitionScope = []string{string(DeviceKind)}
	}
	s.definitions[f.Name] = f
}

// RemoveCustomField deletes a definition, and its values everywhere.
func (s *Server) RemoveCustomField(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.definitions, name)
	for _, fields := range s.values {
		delete(fields, name)
	}
}

// SetDeviceField changes a device's value as a technician would in the console; an empty value clears the field.
func (s *Server) SetDeviceField(deviceID int, name, value string) {
	s.setByTechnician(Target{DeviceKind, deviceID}, name, value)
}

// SetOrganizationField changes an organization's value as a technician would in the console; an empty value clears it.
func (s *Server) SetOrganizationField(organizationID int, name, value string) {
	s.setByTechnician(Target{OrganizationKind, organizationID}, name, value)
}

func (s *Server) setByTechnician(target Target, name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == "" {
		delete(s.values[target], name)
		return
	}
	rich := s.definitions[name].Type == "WYSIWYG"
	s.store(target, name, newStoredValue(value, value, rich, "USER", s.config.Now()))
}

// Age lets every custom field's value of organizations and devices have been written so much earlier.
func (s *Server) Age(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fields := range s.values {
		for name, v := range fields {
			fields[name] = newStoredValue(v.sent, v.value, v.rich, v.updatedBy, v.updatedAt.Add(-by))
		}
	}
}

func (s *Server) store(target Target, name string, value *storedValue) {
	if s.values[target] == nil {
		s.values[target] = map[string]*storedValue{}
	}
	s.values[target][name] = value
}

// OrganizationField is the value of an organization's custom field; false when it has none.
func (s *Server) OrganizationField(organizationID int, name string) (FieldValue, bool) {
	return s.field(Target{OrganizationKind, organizationID}, name)
}

// DeviceField is the value of a device's custom field; false when it has none.
func (s *Server) DeviceField(deviceID int, name string) (FieldValue, bool) {
	return s.field(Target{DeviceKind, deviceID}, name)
}

func (s *Server) field(target Target, name string) (FieldValue, bool) {
	s.mu.Lock()
	value, ok := s.values[target][name]
	s.mu.Unlock()
	if !ok {
		return FieldValue{}, false
	}
	return value.look(), true
}

// Organizations are all organizations in ascending order of id.
func (s *Server) Organizations() []Organization {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inOrder(s.organizations, func(Organization) bool { return true })
}

// Devices are the devices of an organization in ascending order of id, whatever their approval status.
func (s *Server) Devices(organizationID int) []Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wantedOf(organizationID, func(Device) bool { return true })
}

// CustomFields are the definitions in alphabetical order of name.
func (s *Server) CustomFields() []CustomField {
	s.mu.Lock()
	defer s.mu.Unlock()
	return inOrder(s.definitions, func(CustomField) bool { return true })
}

// Writes are the accepted changes of values through the API, in order of time.
func (s *Server) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// inOrder lists the values of a map that are wanted, in ascending order of key.
func inOrder[K cmp.Ordered, V any](m map[K]V, wanted func(V) bool) []V {
	list := make([]V, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if wanted(m[key]) {
			list = append(list, m[key])
		}
	}
	return list
}

// wantedOf lists the devices of an organization that are wanted, in ascending order of id.
func (s *Server) wantedOf(organizationID int, wanted func(Device) bool) []Device {
	list := []Device{}
	for _, id := range s.devicesOf[organizationID] {
		if wanted(s.devices[id]) {
			list = append(list, s.devices[id])
		}
	}
	return list
}

// has reports whether the field is defined for a kind of target.
func (f CustomField) has(kind Kind) bool { return slices.Contains(f.DefinitionScope, string(kind)) }
