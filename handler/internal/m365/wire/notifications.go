package wire

import (
	"context"
	"io"

	"cipp-ninjaone/handler/internal/reply"
)

// Bounds of one POST of notifications. Graph's own are far smaller.
const (
	MaxPost          = 1 << 20 // bytes
	MaxNotifications = 2000
)

var post = reply.Limits{Bytes: MaxPost, Record: MaxPost, Records: MaxNotifications}

// Notification is one item of a POST of Graph's (resource type changeNotification), as
// far as it is used.
type Notification struct {
	SubscriptionID string `json:"subscriptionId"`
	ClientState    string `json:"clientState"`
	LifecycleEvent string `json:"lifecycleEvent"`
	Resource       string `json:"resource"`
	ResourceData   struct {
		ID   string `json:"id"`
		Path string `json:"@odata.id"`
	} `json:"resourceData"`
}

// DecodeNotifications decodes what Graph posts to the notification address, and stops at
// the first thing that Graph would not send. It verifies nothing. An item without client
// state does not spoil the others: it is counted as malformed. The error may be the
// body's own.
func DecodeNotifications(ctx context.Context, body io.Reader) (items []Notification, malformed int, err error) {
	in := reply.NewReader(ctx, body, post)
	defer in.Close()
	_, err = StreamPage(in, "value", func(n *Notification, fits bool) error {
		if fits && n.ClientState != "" {
			items = append(items, *n)
		} else {
			malformed++
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return items, malformed, nil
}
