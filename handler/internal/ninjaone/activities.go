package ninjaone

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/reply"
)

// Activity is an entry of NinjaOne's log of activities. Source: schema Activity
// of GET /v2/activities.
type Activity struct {
	ID       int    `json:"id"`
	DeviceID int    `json:"deviceId"`   // 0 when it concerns no device
	Code     string `json:"statusCode"` // such as NODE_CREATED
}

const (
	activityPage = 1000 // the largest that the published document allows
	// maxActivityPages is how many pages Activities reads back. Beyond them, its caller
	// reads the devices themselves.
	maxActivityPages = 20
)

// ActivityMark says where the log of activities was read to.
type ActivityMark struct {
	Last int // id of the newest activity that was read; 0 for none
	// Reversed says that the server means newerThan and olderThan as the published
	// document describes them. That is the reverse of their names.
	Reversed bool
}

// Activities returns what happened after a mark, newest first, and the mark to go on
// from. Without an activity in the mark it returns only a mark. It calls GET
// /v2/activities once, and again after each full page. It asks again, too, if the ids
// that come back show that the mark's Reversed is wrong.
func (c *Client) Activities(ctx context.Context, from ActivityMark) (news []Activity, to ActivityMark, err error) {
	ctx, release := reply.Keeping(ctx)
	defer release()
	l := activityLog{pager: pager{client: c, template: "/v2/activities"}, newer: "newerThan", older: "olderThan"}
	if to = from; to.Reversed {
		l.newer, l.older = l.older, l.newer
	}
	since := from.Last
	if since == 0 {
		newest, recorded, err := l.page(ctx, 10, nil)
		to.Last = max(recorded, highest(newest))
		return nil, to, err
	}
	page, recorded, err := l.page(ctx, activityPage, []param{{l.newer, strconv.Itoa(since)}})
	if err != nil {
		return nil, from, err
	}
	if highest(page) <= since && (len(page) > 0 || recorded > since) {
		l.newer, l.older, to.Reversed = l.older, l.newer, !to.Reversed
		if page, _, err = l.page(ctx, activityPage, []param{{l.newer, strconv.Itoa(since)}}); err != nil {
			return nil, from, err
		}
	}
	seen := bounds.Fresh[int]()
	for pages := 1; ; pages++ {
		fresh, oldest := 0, 0
		for _, a := range page {
			if a.ID > since && seen(a.ID) {
				news = append(news, a)
				to.Last = max(to.Last, a.ID)
				fresh++
			}
			if oldest == 0 || a.ID < oldest {
				oldest = a.ID
			}
		}
		switch {
		case len(page) < activityPage, oldest <= since+1:
			return news, to, nil
		case fresh == 0:
			return nil, to, l.request.wrap(errNoProgress)
		case pages == maxActivityPages:
			return nil, to, l.request.wrap(fmt.Errorf("%w: there are more than %d activities", bounds.ErrEndless, len(news)))
		}
		if page, _, err = l.page(ctx, activityPage, []param{{l.newer, strconv.Itoa(since)}, {l.older, strconv.Itoa(oldest)}}); err != nil {
			return nil, from, err
		}
	}
}

// activityLog reads the log of activities, with the parameters for what is newer
// and older than an activity.
type activityLog struct {
	pager
	newer, older string
}

// page reads one page, and the id of the last recorded activity.
func (l *activityLog) page(ctx context.Context, size int, query []param) (page []Activity, recorded int, err error) {
	err = l.read(ctx, append(query, param{"pageSize", strconv.Itoa(size)}), decodeMembers(map[string]func(*json.Decoder) error{
		"activities":     into(&page, decodeIdentified(func(a Activity) int { return a.ID })),
		"lastActivityId": into(&recorded, decodeValue[int]),
	}, "activities"))
	if err == nil {
		err = reply.Keep(ctx, reply.Size(page))
	}
	return page, recorded, err
}

// highest is the highest id of activities; 0 of none.
func highest(list []Activity) (id int) {
	for _, a := range list {
		id = max(id, a.ID)
	}
	return id
}
