package m365sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// signInRefusal checks what Graph demands for signInActivity: a premium
// licence and AuditLog.Read.All.
func (s *Server) signInRefusal(c *call, q *query) *apiError {
	if !slices.ContainsFunc(q.selected, func(p Property) bool { return p.Name == "signInActivity" }) {
		return nil
	}
	var premium, granted bool
	c.t.View(func(t *Tenant) { premium, granted = t.premium(), t.granted([]string{"AuditLog.Read.All"}) })
	switch {
	case !premium:
		return &apiError{status: http.StatusForbidden, code: "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
			message: "Neither tenant is B2C or tenant doesn't have premium license"}
	case !granted:
		return &apiError{status: http.StatusForbidden, code: "Authentication_MSGraphPermissionMissing",
			message: "Calling principal does not have required MSGraph permissions AuditLog.Read.All"}
	}
	return nil
}

func serveUsers(s *Server, c *call, q *query) *answer {
	if refusal := s.signInRefusal(c, q); refusal != nil {
		return s.errorAnswer(c.r, refusal)
	}
	if slices.ContainsFunc(q.selected, func(p Property) bool { return p.Name == "signInActivity" }) {
		q.top = min(q.top, 500) // the service gives no larger pages with sign-in activity
	}
	return s.entities(c, q, "user", func(t *Tenant) []Entity { return t.Users }, 100)
}

// serveMembers answers the ids of the direct members of a group or role, each with its
// "@odata.type". This project asks for nothing else of them.
func serveMembers(s *Server, c *call, q *query) *answer {
	id := strings.ToLower(c.params["id"])
	ofRole := strings.HasPrefix(c.route.path, "/directoryRoles/")
	var rows []json.RawMessage
	found := false
	c.t.View(func(t *Tenant) {
		owners := t.Groups
		if ofRole {
			owners = t.Roles
		}
		if found = Find(owners, id) != nil; !found {
			return
		}
		for _, m := range t.Members[id] {
			rows = append(rows, project("directoryObject", Entity{"@odata.type": "#microsoft.graph." + m.Type, "id": m.ID}, q.selected, c.beta))
		}
	})
	if !found {
		return s.errorAnswer(c.r, notFoundObject(id))
	}
	size := 100
	if ofRole {
		size = 1000
	}
	return s.list(c, q, rows, size)
}

// servePolicyStates answers a device's compliance policy states, without their settings.
func servePolicyStates(s *Server, c *call, q *query) *answer {
	id := c.params["id"]
	var found bool
	var rows []json.RawMessage
	c.t.View(func(t *Tenant) {
		found = Find(t.ManagedDevices, id) != nil
		for _, e := range t.PolicyStates[id] {
			row := maps.Clone(e)
			delete(row, "settingStates")
			rows = append(rows, project("deviceCompliancePolicyState", row, q.selected, c.beta))
		}
	})
	if !found {
		return s.errorAnswer(c.r, notFoundObject(id))
	}
	return s.list(c, q, rows, 1000)
}

func serveSettingStates(s *Server, c *call, q *query) *answer {
	found := false
	var rows []json.RawMessage
	c.t.View(func(t *Tenant) {
		state := Find(t.PolicyStates[c.params["id"]], c.params["policy"])
		if found = state != nil; !found {
			return
		}
		settings, _ := state["settingStates"].([]Entity)
		for _, e := range settings {
			b, _ := json.Marshal(e)
			rows = append(rows, b)
		}
	})
	if !found {
		return s.errorAnswer(c.r, notFoundObject(c.params["policy"]))
	}
	return s.list(c, q, rows, 1000)
}
