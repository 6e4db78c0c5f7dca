package seed

import (
	"fmt"

	"cipp-ninjaone/sandbox/m365sim"
)

// accessPolicy adds a Conditional Access policy for the users part given.
func (b *builder) accessPolicy(name, state string, users entity) {
	for _, k := range []string{"includeUsers", "excludeUsers", "includeGroups", "excludeGroups", "includeRoles", "excludeRoles"} {
		if users[k] == nil {
			users[k] = []string{}
		}
	}
	for _, k := range []string{"includeGuestsOrExternalUsers", "excludeGuestsOrExternalUsers"} {
		if _, ok := users[k]; !ok {
			users[k] = nil
		}
	}
	b.t.ConditionalAccess = append(b.t.ConditionalAccess, entity{
		"id": b.guid(), "displayName": b.name(name), "state": state, "createdDateTime": stamp(b.seed.Day.AddDate(-1, 0, 0)),
		"modifiedDateTime": stamp(b.seed.Day.AddDate(0, -2, 0)),
		"conditions": entity{"clientAppTypes": []string{"all"}, "signInRiskLevels": []string{}, "users": users,
			"applications": entity{"includeApplications": []string{"All"}, "excludeApplications": []string{}, "includeUserActions": []string{}}},
		"grantControls": entity{"operator": "OR", "builtInControls": []string{"mfa"}, "customAuthenticationFactors": []string{}, "termsOfUse": []string{}},
	})
}

// access adds the usual policies and some odd ones.
func (b *builder) access(exclusions, nested, breakGlass string) {
	b.accessPolicy("CA001: Administrators use MFA", "enabled", entity{
		"includeRoles": []string{roleGlobalAdmin.id, roleUserAdmin.id, roleExchangeAdmin.id}, "excludeUsers": []string{breakGlass}})
	b.accessPolicy("CA002: All users use MFA", "enabled", entity{"includeUsers": []string{"All"},
		"excludeUsers": []string{breakGlass}, "excludeGroups": []string{exclusions}, "excludeRoles": []string{roleReader.id}})
	b.accessPolicy("CA003: Legacy authentication is blocked", "enabled", entity{"includeUsers": []string{"All"}, "excludeUsers": []string{"GuestsOrExternalUsers"}})
	b.accessPolicy("CA004: Compliant devices for head office", "enabledForReportingButNotEnforced", entity{"includeGroups": []string{nested}})
	b.accessPolicy("CA005: Guests use MFA", "enabled", entity{"includeUsers": []string{"GuestsOrExternalUsers"}})
	b.accessPolicy("CA006: External collaborators accept terms", "enabled", entity{
		"includeGuestsOrExternalUsers": entity{"guestOrExternalUserTypes": "b2bCollaborationGuest,b2bCollaborationMember",
			"externalTenants": entity{"@odata.type": "#microsoft.graph.conditionalAccessAllExternalTenants", "membershipKind": "all"}}})
	b.accessPolicy("CA900: Draft", "disabled", entity{"includeUsers": []string{"None"}})
}

type control struct {
	name, title, category, service, url string
	max                                 float64
}

var controls = []control{
	{"AdminMFAV2", "Require MFA for administrative roles", "Identity", "AzureAD", "https://entra.microsoft.com/#view/roles", 10},
	{"MFARegistrationV2", "Require MFA for all users", "Identity", "AzureAD", "https://entra.microsoft.com/#view/mfa", 9},
	{"BlockLegacyAuthentication", "Block legacy authentication", "Identity", "AzureAD", "https://entra.microsoft.com/#view/ca", 8},
	{"SelfServicePasswordReset", "Enable self-service password reset", "Identity", "AzureAD", "https://entra.microsoft.com/#view/sspr", 1},
	{"OneAdmin", "Have more than one global administrator", "Identity", "AzureAD", "https://entra.microsoft.com/#view/admins", 1},
	{"IntegratedApps", "Do not let users consent to risky applications", "Identity", "AzureAD", "https://entra.microsoft.com/#view/apps", 4},
	{"dlp_datalossprevention", "Turn on data loss prevention", "Data", "IP", "https://purview.microsoft.com/dlp", 5},
	{"mip_sensitivitylabels", "Publish sensitivity labels", "Data", "MIP", "https://purview.microsoft.com/labels", 5},
	{"scid_2010", "Turn on Defender antivirus", "Device", "MDATP", "https://security.microsoft.com/tvm/2010", 10},
	{"scid_2503", "Block credential stealing", "Device", "MDATP", "https://security.microsoft.com/tvm/2503", 9},
	{"mdo_safelinks", "Turn on safe links", "Apps", "MDO", "https://security.microsoft.com/safelinks", 7},
	{"exo_storageproviders", "Restrict storage providers in Outlook", "Apps", "EXO", "https://admin.exchange.microsoft.com/storage", 1},
	{"retired_control", "", "Apps", "EXO", "", 0}, // scored, but without a profile
}

// security adds secure scores of some days, the profiles, and the
// authorization policy.
func (b *builder) security(share float64, consent ...string) {
	vendor := entity{"provider": "SecureScore", "providerVersion": nil, "subProvider": nil, "vendor": "Microsoft"}
	for d := range 5 {
		var scores []entity
		current, top := 0.0, 0.0
		for i, c := range controls {
			score := 0.0
			if float64(i)/float64(len(controls)) < share {
				score = c.max
			} else if i%3 == 0 {
				score = c.max / 2
			}
			current, top = current+score, top+c.max
			scores = append(scores, entity{"controlName": c.name, "controlCategory": c.category, "description": b.name(c.title), "score": score})
		}
		created := b.seed.Day.AddDate(0, 0, -d-1)
		b.t.SecureScores = append([]entity{{
			"id": b.t.ID + "_" + day(created), "azureTenantId": b.t.ID, "createdDateTime": stamp(created), "currentScore": current - float64(d),
			"maxScore": top, "activeUserCount": len(b.t.Users), "licensedUserCount": len(b.t.Users), "enabledServices": []string{"HasExchange", "HasSharePoint"},
			"controlScores": scores, "averageComparativeScores": []entity{{"basis": "AllTenants", "averageScore": 41.5}}, "vendorInformation": vendor,
		}}, b.t.SecureScores...)
	}
	for i, c := range controls {
		if c.title == "" {
			continue
		}
		b.t.SecureScoreProfiles = append(b.t.SecureScoreProfiles, entity{
			"id": c.name, "azureTenantId": b.t.ID, "title": b.name(c.title), "controlCategory": c.category, "service": c.service, "maxScore": c.max,
			"rank": i + 1, "actionUrl": c.url, "actionType": "Config", "tier": "Core", "userImpact": "Low", "implementationCost": "Low",
			"deprecated": false, "remediation": b.name("Follow the link and switch it on."), "remediationImpact": "Little.",
			"threats": []string{"Account breach"}, "vendorInformation": vendor, "lastModifiedDateTime": nil,
		})
	}
	if consent == nil {
		consent = []string{}
	}
	b.t.AuthorizationPolicy = entity{
		"id": "authorizationPolicy", "displayName": "Authorization Policy", "description": "Manages authorization settings.",
		"allowInvitesFrom": "adminsAndGuestInviters", "allowedToSignUpEmailBasedSubscriptions": true, "allowedToUseSSPR": true,
		"allowEmailVerifiedUsersToJoinOrganization": false, "blockMsolPowerShell": false, "guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
		"defaultUserRolePermissions": entity{"allowedToCreateApps": false, "allowedToCreateSecurityGroups": false, "allowedToReadOtherUsers": true,
			"permissionGrantPoliciesAssigned": consent},
	}
}

// mail adds mailboxes, their protocols and the usage reports of the licensed
// users.
func (b *builder) mail() {
	refresh := b.seed.Day.AddDate(0, 0, -2)
	for i, u := range b.t.Users {
		if list, _ := u["assignedLicenses"].([]entity); len(list) == 0 {
			continue
		}
		id, upn, name := u.ID(), u.String("userPrincipalName"), u.String("displayName")
		guid := b.guid()
		box := entity{
			"Identity": id, "Id": id, "Guid": guid, "Name": id, "Alias": u.String("mailNickname"), "DisplayName": name, "UserPrincipalName": upn,
			"PrimarySmtpAddress": upn, "EmailAddresses": u["proxyAddresses"], "ExternalDirectoryObjectId": id, "RecipientType": "UserMailbox",
			"RecipientTypeDetails": "UserMailbox", "ForwardingAddress": nil, "ForwardingSmtpAddress": nil, "DeliverToMailboxAndForward": false,
			"LitigationHoldEnabled": i%9 == 4, "HiddenFromAddressListsEnabled": i%13 == 6, "ArchiveStatus": "None",
			"ArchiveGuid": "00000000-0000-0000-0000-000000000000", "RetainDeletedItemsFor": "14.00:00:00",
			"ProhibitSendQuota": "49.5 GB (53,150,220,288 bytes)", "ProhibitSendReceiveQuota": "50 GB (53,687,091,200 bytes)",
			"IssueWarningQuota": "49 GB (52,613,349,376 bytes)", "WhenCreatedUTC": u["createdDateTime"], "IsDirSynced": u["onPremisesSyncEnabled"] == true,
		}
		switch i % 17 {
		case 3:
			box["ForwardingSmtpAddress"], box["DeliverToMailboxAndForward"] = "smtp:archive@"+b.t.InitialDomain, true
		case 7:
			box["ForwardingAddress"] = "Reception desk"
		case 11:
			box["ArchiveStatus"], box["ArchiveGuid"] = "Active", b.guid()
		}
		cas := entity{"Identity": id, "Id": id, "Guid": guid, "Name": id, "DisplayName": name, "PrimarySmtpAddress": upn,
			"EmailAddresses": u["proxyAddresses"], "ExternalDirectoryObjectId": id, "OWAEnabled": true, "MAPIEnabled": true,
			"ImapEnabled": i%5 == 0, "PopEnabled": i%7 == 0, "ActiveSyncEnabled": true, "EwsEnabled": nil, "ECPEnabled": true}
		b.t.Mailboxes = append(b.t.Mailboxes, box)
		b.t.CASMailboxes = append(b.t.CASMailboxes, cas)

		used := int64(b.rng.IntN(49_000))*1_000_000 + awayFromRounding
		activity := any(day(refresh.AddDate(0, 0, -b.rng.IntN(4))))
		if i%19 == 18 {
			activity = nil // a mailbox nobody ever opened
		}
		b.t.MailboxUsage = append(b.t.MailboxUsage, entity{
			"reportRefreshDate": day(refresh), "userPrincipalName": upn, "displayName": name, "isDeleted": false, "deletedDate": nil,
			"createdDate": u.String("createdDateTime")[:10], "lastActivityDate": activity, "itemCount": 200 + b.rng.IntN(60000),
			"storageUsedInBytes": used, "issueWarningQuotaInBytes": int64(52613349376), "prohibitSendQuotaInBytes": int64(53150220288),
			"prohibitSendReceiveQuotaInBytes": int64(53687091200), "deletedItemCount": b.rng.IntN(900), "deletedItemSizeInBytes": int64(b.rng.IntN(1 << 30)),
			"hasArchive": box["ArchiveStatus"] == "Active",
		})
		if i%6 == 5 {
			continue // no OneDrive yet
		}
		site := "https://" + sharePoint(b.t) + "-my.sharepoint.com/personal/" + personal(upn)
		b.t.OneDriveUsage = append(b.t.OneDriveUsage, entity{
			"reportRefreshDate": day(refresh), "siteUrl": site, "ownerDisplayName": name, "ownerPrincipalName": upn, "isDeleted": false,
			"lastActivityDate": activity, "fileCount": b.rng.IntN(30000), "activeFileCount": b.rng.IntN(300),
			"storageUsedInBytes": int64(b.rng.IntN(900_000))*1_000_000 + awayFromRounding, "storageAllocatedInBytes": int64(1099511627776),
		})
	}
	shared := fmt.Sprintf("frontdesk@%s", b.t.DefaultDomain)
	b.t.Mailboxes = append(b.t.Mailboxes, entity{"Identity": "frontdesk", "Id": "frontdesk", "Guid": b.guid(), "Name": "frontdesk",
		"Alias": "frontdesk", "DisplayName": b.name("Front desk"), "UserPrincipalName": shared, "PrimarySmtpAddress": shared,
		"EmailAddresses": []string{"SMTP:" + shared}, "ExternalDirectoryObjectId": b.guid(), "RecipientType": "UserMailbox",
		"RecipientTypeDetails": "SharedMailbox", "DeliverToMailboxAndForward": false, "LitigationHoldEnabled": false,
		"HiddenFromAddressListsEnabled": false, "ArchiveStatus": "None"})
	gone := "left.colleague@" + b.t.DefaultDomain
	b.t.MailboxUsage = append(b.t.MailboxUsage, entity{"reportRefreshDate": day(refresh), "userPrincipalName": gone, "displayName": "Left Colleague",
		"isDeleted": true, "deletedDate": day(refresh.AddDate(0, 0, -5)), "createdDate": "2021-03-01", "lastActivityDate": day(refresh.AddDate(0, 0, -9)),
		"itemCount": 10, "storageUsedInBytes": 5000, "issueWarningQuotaInBytes": int64(52613349376), "prohibitSendQuotaInBytes": int64(53150220288),
		"prohibitSendReceiveQuotaInBytes": int64(53687091200), "deletedItemCount": 0, "deletedItemSizeInBytes": 0, "hasArchive": false})
}

func sharePoint(t *m365sim.Tenant) string {
	return t.InitialDomain[:len(t.InitialDomain)-len(".onmicrosoft.com")]
}

func personal(upn string) string {
	out := []byte(upn)
	for i, c := range out {
		if c == '@' || c == '.' {
			out[i] = '_'
		}
	}
	return string(out)
}
