package seed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cipp-ninjaone/sandbox/m365sim"
	"cipp-ninjaone/sandbox/ninjasim"
)

// awayFromRounding keeps sizes off the borders between rounded values. So a change by
// some bytes does not change what a person reads.
const awayFromRounding = 300_400_000

const (
	noTime    = "0001-01-01T00:00:00Z"
	neverTime = "9999-12-31T23:59:59Z"
)

// machine is one computer or phone with what each service knows of it.
type machine struct {
	name, serial string
	model        model
	platform     string // Windows, macOS, iOS, Android
	user         entity // primary user, may be nil
	state        string // complianceState; "" = drawn
	biosSerial   string // NinjaOne's, "" = serial
	ninjaSerial  string // NinjaOne's other serial field, "" = serial
	ninjaName    string // "" = name
	noNinja      bool
	noIntune     bool
	noEntra      bool
	lastSync     time.Time // zero = drawn
	enrolled     time.Time // zero = drawn
	server       bool
}

// serialChars are those that makers use. O and I are not among them, since they look like
// 0 and 1.
const serialChars = "0123456789BCDFGHJKLMNPQRSTVWXYZ"

func (b *builder) serial(m model) string {
	s := m.serialPrefix
	for len(s) < m.serialLength {
		s += string(serialChars[b.rng.IntN(len(serialChars))])
	}
	return s
}

// computers adds n ordinary computers: most in both services, the primary
// users in turn.
func (b *builder) computers(n int) {
	var members []entity
	for _, u := range b.t.Users {
		if u["userType"] == "Member" {
			members = append(members, u)
		}
	}
	for i := range n {
		m := machine{platform: "Windows", model: windowsModels[b.rng.IntN(len(windowsModels))]}
		if b.rng.IntN(8) == 0 {
			m.platform, m.model = "macOS", pick(b.rng, macModels)
		}
		kind := "LT"
		if m.model.chassis == "Desktop" {
			kind = "DT"
		}
		m.name = b.name(fmt.Sprintf("%s-%s-%03d", b.prefix, kind, i+1))
		m.serial = b.serial(m.model)
		if len(members) > 0 {
			m.user = members[i%len(members)]
		}
		b.machine(m)
	}
}

// machine adds a machine to Entra, Intune and NinjaOne.
func (b *builder) machine(m machine) {
	deviceID := b.guid()
	if m.lastSync.IsZero() {
		m.lastSync = b.ago(5)
		if !b.fresh && b.rng.IntN(20) == 0 {
			m.lastSync = b.seed.Day.AddDate(0, 0, -35-b.rng.IntN(80))
		}
	}
	if m.enrolled.IsZero() {
		m.enrolled = b.seed.Day.AddDate(0, 0, -120-b.rng.IntN(900))
	}
	if m.state == "" {
		states := []string{"compliant", "compliant", "compliant", "compliant", "compliant", "compliant", "compliant",
			"compliant", "noncompliant", "noncompliant", "inGracePeriod", "unknown", "conflict", "error"}
		if m.state = pick(b.rng, states); b.fresh && b.rng.IntN(100) < 80 {
			m.state = "compliant"
		}
	}
	osName, osVersion := b.system(m)
	if !m.noIntune {
		b.managed(m, deviceID, osVersion)
	}
	if !m.noEntra {
		b.entraDevice(m, deviceID, osVersion)
	}
	if m.noNinja || m.platform == "iOS" || m.platform == "Android" {
		return
	}
	d := ninjasim.Device{
		ID: 1000 + len(b.seed.NinjaDevices)*3 + 1, OrganizationID: b.org, SystemName: m.name, DisplayName: m.name,
		BIOSSerialNumber: m.serial, SerialNumber: m.serial, Manufacturer: m.model.manufacturer, Model: m.model.name,
		ChassisType: strings.ToUpper(m.model.chassis), OSName: osName, LastContact: m.lastSync.Add(11 * time.Minute),
		NodeClass: map[string]string{"Windows": "WINDOWS_WORKSTATION", "macOS": "MAC"}[m.platform],
	}
	d.IPAddresses = []string{fmt.Sprintf("10.%d.%d.%d", d.ID>>16&255, d.ID>>8&255, d.ID&255)}
	d.MACAddresses = []string{fmt.Sprintf("02:00:%02X:%02X:%02X:%02X", d.ID>>24&255, d.ID>>16&255, d.ID>>8&255, d.ID&255)}
	if m.server {
		d.NodeClass, d.ChassisType, d.VirtualMachine = "WINDOWS_SERVER", "UNKNOWN", true
	}
	if m.biosSerial != "" {
		d.BIOSSerialNumber = m.biosSerial
	}
	if m.ninjaSerial != "" {
		d.SerialNumber = m.ninjaSerial
	}
	if m.ninjaName != "" {
		d.SystemName, d.DisplayName = m.ninjaName, m.ninjaName
	}
	d.DNSName = d.SystemName
	if b.t.Organization["onPremisesSyncEnabled"] == true {
		d.DNSName = strings.ToLower(d.SystemName) + "." + b.t.DefaultDomain
	}
	d.Offline = b.seed.Day.Sub(d.LastContact) > 48*time.Hour
	if m.user != nil {
		d.LastLoggedInUser = `AzureAD\` + m.user.String("givenName") + strings.ReplaceAll(m.user.String("surname"), "-", "")
	}
	b.seed.NinjaDevices = append(b.seed.NinjaDevices, d)
}

func (b *builder) system(m machine) (name, version string) {
	switch {
	case m.server:
		return "Windows Server 2022 Standard", "10.0.20348.2849"
	case m.platform == "Windows":
		return "Windows 11 Professional Edition", pick(b.rng, []string{"10.0.22631.4460", "10.0.26100.2314", "10.0.19045.5131"})
	case m.platform == "macOS":
		return "macOS Sequoia 15.1", "15.1 (24B83)"
	case m.platform == "iOS":
		return "iOS", "18.1"
	}
	return "Android", "14"
}

// managed adds the Intune record of a machine.
func (b *builder) managed(m machine, deviceID, osVersion string) {
	id := b.guid()
	e := entity{
		"id": id, "deviceName": m.name, "managedDeviceName": m.name + "_" + m.platform + "_" + day(m.enrolled), "serialNumber": m.serial,
		"manufacturer": m.model.manufacturer, "model": m.model.name, "operatingSystem": m.platform, "osVersion": osVersion,
		"complianceState": m.state, "azureADDeviceId": deviceID, "azureADRegistered": true, "deviceRegistrationState": "registered",
		"enrolledDateTime": stamp(m.enrolled), "lastSyncDateTime": stamp(m.lastSync), "managedDeviceOwnerType": "company",
		"managementAgent": "mdm", "managementState": "managed", "isEncrypted": m.state != "noncompliant", "isSupervised": false,
		"jailBroken": "Unknown", "complianceGracePeriodExpirationDateTime": neverTime, "deviceEnrollmentType": "windowsAzureADJoin",
		"easActivated": false, "easActivationDateTime": noTime, "exchangeAccessState": "none", "exchangeAccessStateReason": "none",
		"exchangeLastSuccessfulSyncDateTime": noTime, "partnerReportedThreatState": "unknown", "requireUserEnrollmentApproval": false,
		"managementCertificateExpirationDate": stamp(m.enrolled.AddDate(1, 0, 0)),
		"totalStorageSpaceInBytes":            int64(510770872320), "freeStorageSpaceInBytes": int64(80+b.rng.IntN(300))<<30 + awayFromRounding,
		"physicalMemoryInBytes": int64(17179869184), "deviceCategoryDisplayName": "Unknown", "enrollmentProfileName": nil,
		"userId": "", "userPrincipalName": "", "userDisplayName": "", "emailAddress": "",
		"wiFiMacAddress": fmt.Sprintf("02%010X", b.rng.Uint64N(1<<40)), "ethernetMacAddress": fmt.Sprintf("02%010X", b.rng.Uint64N(1<<40)),
		"joinType": "azureADJoined", "chassisType": strings.ToLower(m.model.chassis), "deviceType": "windowsRT", "autopilotEnrolled": true,
		"ownerType": "company", "skuFamily": "Pro", "processorArchitecture": "x64", "roleScopeTagIds": []string{"0"},
		"hardwareInformation": entity{"serialNumber": m.serial, "deviceGuardVirtualizationBasedSecurityState": "running",
			"deviceGuardVirtualizationBasedSecurityHardwareRequirementState": "meetHardwareRequirements",
			"deviceGuardLocalSystemAuthorityCredentialGuardState":            "running", "tpmSpecificationVersion": "2.0"},
	}
	switch m.platform {
	case "macOS":
		e["deviceEnrollmentType"], e["joinType"], e["deviceType"] = "appleBulkWithUser", "azureADRegistered", "macMDM"
		e["hardwareInformation"], e["autopilotEnrolled"], e["isSupervised"] = nil, false, true
	case "iOS", "Android":
		e["deviceEnrollmentType"], e["managedDeviceOwnerType"], e["ownerType"] = "userEnrollment", "personal", "personal"
		e["joinType"], e["chassisType"], e["deviceType"] = "azureADRegistered", "phone", strings.ToLower(m.platform)
		e["jailBroken"], e["autopilotEnrolled"], e["hardwareInformation"] = "False", false, nil
	}
	if m.state == "inGracePeriod" {
		e["complianceGracePeriodExpirationDateTime"] = stamp(b.seed.Day.AddDate(0, 0, 4))
	}
	if m.noEntra {
		e["azureADDeviceId"], e["azureADRegistered"] = "00000000-0000-0000-0000-000000000000", false
		e["deviceRegistrationState"] = "notRegistered"
	}
	if m.user != nil {
		e["userId"], e["userPrincipalName"] = m.user.ID(), m.user.String("userPrincipalName")
		e["userDisplayName"], e["emailAddress"] = m.user.String("displayName"), m.user.String("mail")
		e["usersLoggedOn"] = []entity{{"userId": m.user.ID(), "lastLogOnDateTime": stamp(m.lastSync)}}
	}
	b.t.ManagedDevices = append(b.t.ManagedDevices, e)
	if m.state == "noncompliant" || m.state == "inGracePeriod" || m.state == "conflict" || m.state == "error" {
		b.t.PolicyStates[id] = b.policyStates(m)
	} else {
		b.t.PolicyStates[id] = []entity{{"id": b.guid(), "displayName": "Default Device Compliance Policy",
			"platformType": "all", "state": "compliant", "settingCount": 3, "version": 1}}
	}
}

var platformTypes = map[string]string{"Windows": "windows10AndLater", "macOS": "macOS", "iOS": "iOS", "Android": "androidForWork"}

// policyStates says why a device does not comply.
func (b *builder) policyStates(m machine) []entity {
	state := map[string]string{"conflict": "conflict", "error": "error"}[m.state]
	if state == "" {
		state = "nonCompliant"
	}
	upn, userID, userName := "", "", ""
	if m.user != nil {
		upn, userID, userName = m.user.String("userPrincipalName"), m.user.ID(), m.user.String("displayName")
	}
	setting := func(name, state, value, reason string, code int64) entity {
		return entity{"setting": name, "settingName": nil, "instanceDisplayName": nil, "state": state, "currentValue": value,
			"errorCode": code, "errorDescription": reason, "userId": userID, "userPrincipalName": upn, "userName": userName,
			"userEmail": upn, "sources": []entity{}}
	}
	return []entity{
		{"id": b.guid(), "displayName": b.name(m.platform + " baseline"), "platformType": platformTypes[m.platform], "state": state,
			"settingCount": 3, "version": 7, "settingStates": []entity{
				setting(m.platform+"CompliancePolicy.RequireEncryption", state, "false", "The drive is not encrypted.", 2016345708),
				setting(m.platform+"CompliancePolicy.OsMinimumVersion", state, "10.0.19045.1", "", 0),
				setting(m.platform+"CompliancePolicy.PasswordRequired", "compliant", "true", "", 0),
			}},
		{"id": b.guid(), "displayName": "Default Device Compliance Policy", "platformType": "all", "state": "compliant",
			"settingCount": 3, "version": 1},
	}
}

func (b *builder) entraDevice(m machine, deviceID, osVersion string) {
	trust, ids := "AzureAd", []string{"[USER-HWID]:" + b.guid() + ":" + fmt.Sprint(b.rng.Uint32())}
	if m.platform == "Windows" && b.rng.IntN(2) == 0 {
		ids = append(ids, "[ZTDID]:"+b.guid())
	}
	if m.platform != "Windows" {
		trust = "Workplace"
	}
	e := entity{"id": b.guid(), "deviceId": deviceID, "displayName": m.name, "accountEnabled": true, "operatingSystem": m.platform,
		"operatingSystemVersion": osVersion, "trustType": trust, "physicalIds": ids, "isManaged": !m.noIntune,
		"registrationDateTime": stamp(m.enrolled), "createdDateTime": nil, "approximateLastSignInDateTime": stamp(m.lastSync),
		"deviceOwnership": "Company", "manufacturer": m.model.manufacturer, "model": m.model.name, "deviceVersion": 2}
	delete(e, "createdDateTime")
	if !m.noIntune {
		e["isCompliant"] = m.state == "compliant" || m.state == "inGracePeriod"
	}
	b.t.Devices = append(b.t.Devices, e)
}

// compliancePolicies adds a policy per platform.
func (b *builder) compliancePolicies() {
	for _, p := range []struct{ platform, typ string }{
		{"Windows", "windows10CompliancePolicy"}, {"macOS", "macOSCompliancePolicy"}, {"iOS", "iosCompliancePolicy"},
	} {
		b.t.CompliancePolicies = append(b.t.CompliancePolicies, entity{"@odata.type": "#microsoft.graph." + p.typ, "id": b.guid(),
			"displayName": b.name(p.platform + " baseline"), "description": "Company baseline", "version": 7,
			"createdDateTime": stamp(b.seed.Day.AddDate(-1, 0, 0)), "lastModifiedDateTime": stamp(b.seed.Day.AddDate(0, -1, 0))})
	}
}

// deviceRefs returns the first n Entra devices as members.
func (b *builder) deviceRefs(n int) []m365sim.Member {
	return refs("device", slices.Clone(b.t.Devices[:min(n, len(b.t.Devices))])...)
}
