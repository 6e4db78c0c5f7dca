package ninjasim

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// maxActivities is how many activities the log keeps.
const maxActivities = 50_000

// activity is an entry of the log of activities.
type activity struct {
	id       int
	deviceID int
	code     string // such as NODE_CREATED
	at       time.Time
}

// happened adds an activity to the log. The caller holds the lock.
func (s *Server) happened(code string, deviceID int) {
	s.lastActivity++
	s.activities = append(s.activities, activity{s.lastActivity, deviceID, code, s.config.Now()})
	if len(s.activities) > maxActivities {
		s.activities = slices.Clone(s.activities[maxActivities/2:])
	}
}

// AddActivity adds an activity of any code to the log; deviceID is 0 for none.
func (s *Server) AddActivity(code string, deviceID int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened(code, deviceID)
}

// ReverseActivities lets newerThan and olderThan mean what the published document says. That is the
// other way round than their names.
func (s *Server) ReverseActivities() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reversed = true
}

// listActivities answers the log, newest first.
func (s *Server) listActivities(c *call) reply {
	newer, older := bound(c, "newerThan"), bound(c, "olderThan")
	if s.reversed {
		newer, older = older, newer
	}
	size := 200
	if text := c.query.Get("pageSize"); text != "" {
		size, _ = strconv.Atoi(text)
		if size < 10 || size > 1000 {
			return s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_page_size", map[string]any{"max": 1000}))
		}
	}
	list := []map[string]any{}
	for _, a := range slices.Backward(s.activities) {
		if newer > 0 && a.id <= newer || older > 0 && a.id >= older {
			continue
		}
		if len(list) == size {
			break
		}
		body := map[string]any{"id": a.id, "activityTime": s.epoch(a.at), "activityType": "SYSTEM", "statusCode": a.code, "status": a.code, "type": "System"}
		if a.deviceID != 0 {
			body["deviceId"] = a.deviceID
		}
		list = append(list, body)
	}
	return answer(map[string]any{"lastActivityId": s.lastActivity, "activities": list})
}

// bound is a parameter that names an activity; 0 without it.
func bound(c *call, name string) int {
	id, _ := strconv.Atoi(c.query.Get(name))
	return id
}
