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
	NotInList  bool // a list that selects it is answered 501
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
// collection, "+" only when selected, "^" beta only, "!" not in lists.
func parseType(name, spec string) *EntityType {
	t := &EntityType{Name: name, index: map[string]int{}}
	for _, word := range strings.Fields("id " + spec) {
		p := Property{}
		p.Name = strings.TrimRight(word, "[]+^!")
		marks := word[len(p.Name):]
		p.Collection = strings.Contains(marks, "[]")
		p.SelectOnly = strings.ContainsAny(marks, "+!")
		p.BetaOnly = strings.Contains(marks, "^")
		p.NotInList = strings.Contains(marks, "!")
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
	// A member list has the properties of every kind of member.
	members := parseType("directoryObject", "deletedDateTime")
	for _, kind := range []string{"user", "group", "device"} {
		for _, p := range types[kind].Properties {
			if _, ok := members.index[p.Name]; !ok {
				members.index[p.Name] = len(members.Properties)
				members.Properties = append(members.Properties, p)
			}
		}
	}
	types["directoryObject"] = members
	return types
}()

var specs = map[string]string{
	"user": `
		businessPhones[] displayName givenName jobTitle mail mobilePhone officeLocation preferredLanguage surname
		userPrincipalName
		accountEnabled+ ageGroup+ assignedLicenses[]+ assignedPlans[]+ city+ companyName+ consentProvidedForMinor+
		country+ createdDateTime+ creationType+ customSecurityAttributes+ deletedDateTime+ department+
		employeeHireDate+ employeeId+ employeeOrgData+ employeeType+ externalUserState+
		externalUserStateChangeDateTime+ faxNumber+ identities[]+ imAddresses[]+ isManagementRestricted+
		isResourceAccount+ lastPasswordChangeDateTime+ legalAgeGroupClassification+ licenseAssignmentStates[]+
		mailNickname+ onPremisesDistinguishedName+ onPremisesDomainName+ onPremisesExtensionAttributes+
		onPremisesImmutableId+ onPremisesLastSyncDateTime+ onPremisesProvisioningErrors[]+
		onPremisesSamAccountName+ onPremisesSecurityIdentifier+ onPremisesSyncEnabled+
		onPremisesUserPrincipalName+ otherMails[]+ passwordPolicies+ passwordProfile+ postalCode+
		preferredDataLocation+ provisionedPlans[]+ proxyAddresses[]+ securityIdentifier+ showInAddressList+
		signInActivity+ signInSessionsValidFromDateTime+ state+ streetAddress+ usageLocation+ userType+
		aboutMe! birthday! hireDate! interests[]! mailboxSettings! mySite! pastProjects[]! preferredName!
		responsibilities[]! schools[]! skills[]!
		deviceKeys[]+^ infoCatalogs[]+^ refreshTokensValidFromDateTime+^`,
	"group": `
		deletedDateTime classification createdDateTime description displayName expirationDateTime groupTypes[]
		isAssignableToRole mail mailEnabled mailNickname membershipRule membershipRuleProcessingState
		onPremisesDomainName onPremisesLastSyncDateTime onPremisesNetBiosName onPremisesProvisioningErrors[]
		onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled preferredDataLocation
		preferredLanguage proxyAddresses[] renewedDateTime resourceBehaviorOptions[] resourceProvisioningOptions[]
		securityEnabled securityIdentifier serviceProvisioningErrors[] theme uniqueName visibility
		assignedLabels[]+ assignedLicenses[]+ hasMembersWithLicenseErrors+ isManagementRestricted+
		licenseProcessingState+
		allowExternalSenders! autoSubscribeNewMembers! hideFromAddressLists! hideFromOutlookClients!
		isArchived! isSubscribedByMail! unseenCount!
		creationOptions[]^ isFavorite!`,
	"device": `
		deletedDateTime accountEnabled alternativeSecurityIds[] approximateLastSignInDateTime
		complianceExpirationDateTime deviceCategory deviceId deviceMetadata deviceOwnership deviceVersion
		displayName enrollmentProfileName enrollmentType isCompliant isManaged isRooted managementType
		manufacturer mdmAppId model onPremisesLastSyncDateTime onPremisesSecurityIdentifier
		onPremisesSyncEnabled operatingSystem operatingSystemVersion physicalIds[] profileType
		registrationDateTime systemLabels[] trustType
		isManagementRestricted+ hostnames[]^ domainName^ kind!^ name!^ platform!^ status!^`,
	"directoryRole": `deletedDateTime description displayName roleTemplateId`,
	"organization": `
		deletedDateTime assignedPlans[] businessPhones[] city country countryLetterCode createdDateTime
		defaultUsageLocation displayName marketingNotificationEmails[] mobileDeviceManagementAuthority
		onPremisesLastSyncDateTime onPremisesSyncEnabled partnerTenantType postalCode preferredLanguage
		privacyProfile provisionedPlans[] securityComplianceNotificationMails[]
		securityComplianceNotificationPhones[] state street technicalNotificationMails[] tenantType
		verifiedDomains[] directorySizeQuota^ isMultipleDataLocationsForServicesEnabled^`,
	"domain": `
		authenticationType availabilityStatus isAdminManaged isDefault isInitial isRoot isVerified manufacturer
		model passwordNotificationWindowInDays passwordValidityPeriodInDays state supportedServices[]`,
	"subscribedSku": `
		accountId accountName appliesTo capabilityStatus consumedUnits prepaidUnits servicePlans[] skuId
		skuPartNumber subscriptionIds[]`,
	"companySubscription": `
		commerceSubscriptionId createdDateTime isTrial nextLifecycleDateTime ownerId ownerTenantId ownerType
		serviceStatus[] skuId skuPartNumber status totalLicenses`,
	"managedDevice": `
		activationLockBypassCode+ androidSecurityPatchLevel azureADDeviceId azureADRegistered
		complianceGracePeriodExpirationDateTime complianceState configurationManagerClientEnabledFeatures
		deviceActionResults[] deviceCategoryDisplayName deviceEnrollmentType deviceHealthAttestationState
		deviceName deviceRegistrationState easActivated easActivationDateTime easDeviceId emailAddress
		enrolledDateTime enrollmentProfileName ethernetMacAddress+ exchangeAccessState
		exchangeAccessStateReason exchangeLastSuccessfulSyncDateTime freeStorageSpaceInBytes iccid+ imei
		isEncrypted isSupervised jailBroken lastSyncDateTime managedDeviceName managedDeviceOwnerType
		managementAgent managementCertificateExpirationDate managementState manufacturer meid model notes+
		operatingSystem osVersion partnerReportedThreatState phoneNumber physicalMemoryInBytes+
		remoteAssistanceSessionErrorDetails remoteAssistanceSessionUrl requireUserEnrollmentApproval
		serialNumber subscriberCarrier totalStorageSpaceInBytes udid+ userDisplayName userId
		userPrincipalName wiFiMacAddress
		aadRegistered^ autopilotEnrolled+^ bootstrapTokenEscrowed^ chassisType+^ deviceType^
		enrolledByUserPrincipalName^ hardwareInformation+^ joinType+^ lostModeState^ managementFeatures^
		ownerType^ preferMdmOverGroupPolicyAppliedDateTime^ processorArchitecture+^ retireAfterDateTime^
		roleScopeTagIds[]+^ skuFamily^ skuNumber^ specificationVersion^ usersLoggedOn[]+^
		windowsActiveMalwareCount^ windowsRemediatedMalwareCount^`,
	"deviceCompliancePolicy": `createdDateTime description displayName lastModifiedDateTime version
		roleScopeTagIds[]^`,
	"deviceCompliancePolicyState": `displayName platformType settingCount settingStates[]+ state version
		userId^ userPrincipalName^`,
	"conditionalAccessPolicy": `
		conditions createdDateTime deletedDateTime description displayName grantControls modifiedDateTime
		sessionControls state templateId partialEnablementStrategy^`,
	"authorizationPolicy": `
		deletedDateTime allowedToSignUpEmailBasedSubscriptions allowedToUseSSPR
		allowEmailVerifiedUsersToJoinOrganization allowInvitesFrom allowUserConsentForRiskyApps
		blockMsolPowerShell defaultUserRolePermissions description displayName guestUserRoleId
		enabledPreviewFeatures[]^ permissionGrantPolicyIdsAssignedToDefaultUserRole[]^`,
	"secureScore": `
		activeUserCount averageComparativeScores[] azureTenantId controlScores[] createdDateTime currentScore
		enabledServices[] licensedUserCount maxScore vendorInformation`,
	"secureScoreControlProfile": `
		actionType actionUrl azureTenantId complianceInformation[] controlCategory controlStateUpdates[]
		deprecated implementationCost lastModifiedDateTime maxScore rank remediation remediationImpact service
		threats[] tier title userImpact vendorInformation`,
	"adminReportSettings": `displayConcealedNames`,
}
