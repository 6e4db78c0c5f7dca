package m365sim

import (
	"slices"
	"strings"
)

// Property is one property of an entity type, as the simulator knows it.
type Property struct {
	Name       string
	Collection bool // absent values are answered as an empty array
	BetaOnly   bool // refused on v1.0
	SelectOnly bool // not among the default properties
}

// EntityType is one entity type of Graph with the properties that the
// simulator knows.
type EntityType struct {
	Name       string
	Properties []Property

	index map[string]int
	// placeholders makes a list show an empty value for properties that were not
	// selected. Intune does so instead of leaving them out.
	placeholders bool
}

func (t *EntityType) property(name string) (Property, bool) {
	i, ok := t.index[name]
	if !ok {
		return Property{}, false
	}
	return t.Properties[i], true
}

// Schema returns the entity types that the simulator serves, by name. It leaves out the
// union type of member lists, as Graph has no such type.
func Schema() []EntityType {
	var out []EntityType
	for name, t := range entityTypes {
		if name != "directoryObject" {
			out = append(out, *t)
		}
	}
	slices.SortFunc(out, func(a, b EntityType) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// parseType reads a list of property names. Marks after a name: "[]" a
// collection, "+" only when selected, "^" beta only.
func parseType(name, spec string) *EntityType {
	t := &EntityType{Name: name, index: map[string]int{}}
	for _, word := range strings.Fields("id " + spec) {
		p := Property{}
		p.Name = strings.TrimRight(word, "[]+^")
		marks := word[len(p.Name):]
		p.Collection = strings.Contains(marks, "[]")
		p.SelectOnly = strings.Contains(marks, "+")
		p.BetaOnly = strings.Contains(marks, "^")
		t.index[p.Name] = len(t.Properties)
		t.Properties = append(t.Properties, p)
	}
	return t
}

var entityTypes = func() map[string]*EntityType {
	types := map[string]*EntityType{}
	for name, spec := range specs {
		types[name] = parseType(name, spec)
	}
	types["managedDevice"].placeholders = true
	types["deviceCompliancePolicyState"].placeholders = true
	types["directoryObject"] = parseType("directoryObject", "") // of lists of members
	return types
}()

// specs are the properties that the handler reads, the seed holds, or a test asks for;
// any other is refused.
var specs = map[string]string{
	"user": `
		businessPhones[] displayName givenName jobTitle mail mobilePhone officeLocation surname userPrincipalName
		accountEnabled+ assignedLicenses[]+ city+ createdDateTime+ department+ faxNumber+ identities[]+
		licenseAssignmentStates[]+ mailNickname+ onPremisesLastSyncDateTime+ onPremisesSyncEnabled+
		proxyAddresses[]+ signInActivity+ state+ usageLocation+ userType+`,
	"group": `
		createdDateTime description displayName expirationDateTime groupTypes[] isAssignableToRole mail mailEnabled
		mailNickname membershipRule membershipRuleProcessingState onPremisesLastSyncDateTime onPremisesSyncEnabled
		proxyAddresses[] securityEnabled theme visibility assignedLicenses[]+ creationOptions[]^`,
	"device": `
		accountEnabled approximateLastSignInDateTime deviceId deviceOwnership deviceVersion displayName
		enrollmentProfileName isCompliant isManaged manufacturer model onPremisesLastSyncDateTime
		onPremisesSyncEnabled operatingSystem operatingSystemVersion physicalIds[] registrationDateTime trustType
		`,
	"directoryRole": `description displayName roleTemplateId`,
	"organization": `
		businessPhones[] city countryLetterCode createdDateTime displayName onPremisesLastSyncDateTime
		onPremisesSyncEnabled state technicalNotificationMails[] tenantType verifiedDomains[]`,
	"domain": `
		authenticationType isAdminManaged isDefault isInitial isRoot isVerified manufacturer model
		passwordNotificationWindowInDays passwordValidityPeriodInDays state supportedServices[]`,
	"subscribedSku": `
		accountId accountName appliesTo capabilityStatus consumedUnits prepaidUnits servicePlans[] skuId
		skuPartNumber subscriptionIds[]`,
	"companySubscription": `
		commerceSubscriptionId createdDateTime isTrial nextLifecycleDateTime ownerType serviceStatus[] skuId
		skuPartNumber status totalLicenses`,
	"managedDevice": `
		azureADDeviceId azureADRegistered complianceGracePeriodExpirationDateTime complianceState
		deviceCategoryDisplayName deviceEnrollmentType deviceName deviceRegistrationState easActivated
		easActivationDateTime emailAddress enrolledDateTime enrollmentProfileName ethernetMacAddress+
		exchangeAccessState exchangeAccessStateReason exchangeLastSuccessfulSyncDateTime freeStorageSpaceInBytes
		isEncrypted isSupervised jailBroken lastSyncDateTime managedDeviceName managedDeviceOwnerType
		managementAgent managementCertificateExpirationDate managementState manufacturer model notes+
		operatingSystem osVersion partnerReportedThreatState physicalMemoryInBytes+ requireUserEnrollmentApproval
		serialNumber totalStorageSpaceInBytes userDisplayName userId userPrincipalName wiFiMacAddress
		autopilotEnrolled+^ chassisType+^ deviceType^ hardwareInformation+^ joinType+^ ownerType^
		processorArchitecture+^ roleScopeTagIds[]+^ skuFamily^ usersLoggedOn[]+^`,
	"deviceCompliancePolicy": `
		createdDateTime description displayName lastModifiedDateTime version roleScopeTagIds[]^`,
	"deviceCompliancePolicyState": `
		displayName platformType settingCount settingStates[]+ state version userId^ userPrincipalName^`,
	"conditionalAccessPolicy": `
		conditions createdDateTime description displayName grantControls modifiedDateTime state templateId`,
	"authorizationPolicy": `
		allowedToSignUpEmailBasedSubscriptions allowedToUseSSPR allowEmailVerifiedUsersToJoinOrganization
		allowInvitesFrom blockMsolPowerShell defaultUserRolePermissions description displayName guestUserRoleId`,
	"secureScore": `
		activeUserCount averageComparativeScores[] azureTenantId controlScores[] createdDateTime currentScore
		enabledServices[] licensedUserCount maxScore vendorInformation`,
	"secureScoreControlProfile": `
		actionType actionUrl azureTenantId controlCategory deprecated implementationCost lastModifiedDateTime
		maxScore rank remediation remediationImpact service threats[] tier title userImpact vendorInformation`,
	"adminReportSettings": `displayConcealedNames`,
}
