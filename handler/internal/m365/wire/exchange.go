package wire

// Mailbox is a row of Get-Mailbox.
type Mailbox struct {
	UserID                Text `json:"ExternalDirectoryObjectId"`
	UserPrincipalName     Text `json:"UserPrincipalName"`
	Type                  Text `json:"RecipientTypeDetails"`
	ForwardingAddress     Text `json:"ForwardingAddress"`
	ForwardingSMTPAddress Text `json:"ForwardingSmtpAddress"`
	DeliverAndForward     Text `json:"DeliverToMailboxAndForward"`
	LitigationHold        Text `json:"LitigationHoldEnabled"`
	Hidden                Text `json:"HiddenFromAddressListsEnabled"`
	PrimarySMTPAddress    Text `json:"PrimarySmtpAddress"`
	ArchiveStatus         Text `json:"ArchiveStatus"`
	ArchiveGUID           Text `json:"ArchiveGuid"`
}

// CASMailbox is a row of Get-CASMailbox.
type CASMailbox struct {
	UserID            Text `json:"ExternalDirectoryObjectId"`
	UserPrincipalName Text `json:"UserPrincipalName"`
	OWA               Text `json:"OWAEnabled"`
	MAPI              Text `json:"MAPIEnabled"`
	IMAP              Text `json:"ImapEnabled"`
	POP               Text `json:"PopEnabled"`
	ActiveSync        Text `json:"ActiveSyncEnabled"`
	EWS               Text `json:"EwsEnabled"`
}

// AuditConfig is the row of Get-AdminAuditLogConfig.
type AuditConfig struct {
	Enabled Text `json:"UnifiedAuditLogIngestionEnabled"`
}

// BlockedSender is a row of Get-BlockedSenderAddress.
type BlockedSender struct {
	Address Text `json:"SenderAddress"`
}
