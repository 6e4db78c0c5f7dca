package wire

// ChangeSubscription is a resource of /subscriptions.
type ChangeSubscription struct {
	ID                       string `json:"id,omitempty"`
	ChangeType               string `json:"changeType,omitempty"`
	NotificationURL          string `json:"notificationUrl,omitempty"`
	LifecycleNotificationURL string `json:"lifecycleNotificationUrl,omitempty"`
	Resource                 string `json:"resource,omitempty"`
	ClientState              string `json:"clientState,omitempty"`
	Expires                  string `json:"expirationDateTime,omitempty"`
}
