package ninjasim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// cursorLifetime is how long the cursor of a report can be used.
const cursorLifetime = 15 * time.Minute

// cursor is a report under way: its rows as they were when it was first asked for.
type cursor struct {
	rows    []map[string]any
	offset  int
	expires time.Time
}

// report answers one page of a report. The report is a new one that rows makes, or the one that the
// cursor parameter names.
func (s *Server) report(c *call, rows func() ([]map[string]any, *reply)) reply {
	now := s.config.Now()
	name := c.query.Get("cursor")
	if name == "" {
		list, refused := rows()
		if refused != nil {
			return *refused
		}
		name = uuid.NewString()
		s.cursors[name] = &cursor{rows: list, expires: now.Add(cursorLifetime)}
	}
	position, ok := s.cursors[name]
	if !ok || !now.Before(position.expires) {
		return s.refusal(c, validationFailure(http.StatusBadRequest, "invalid_cursor", map[string]any{"reason": "unknown or expired"}))
	}
	size := 1000
	if text := c.query.Get("pageSize"); text != "" {
		size, _ = strconv.Atoi(text)
	}
	results := position.rows[position.offset:min(position.offset+size, len(position.rows))]
	if results == nil {
		results = []map[string]any{}
	}
	position.offset += len(results)
	return answer(map[string]any{
		"cursor":  map[string]any{"name": name, "offset": position.offset, "count": len(results), "expires": s.epoch(position.expires)},
		"results": results,
	})
}

// wantedValues are the values of a target that a report shows, by name.
func (s *Server) wantedValues(c *call, target Target, since time.Time) map[string]*storedValue {
	names := strings.FieldsFunc(c.query.Get("fields"), func(r rune) bool { return r == ',' })
	wanted := map[string]*storedValue{}
	for name, value := range s.values[target] {
		field := s.definitions[name]
		asked := len(names) == 0 || slices.Contains(names, name)
		if asked && field.readable() && field.has(target.Kind) && value.updatedAt.After(since) {
			wanted[name] = value
		}
	}
	return wanted
}

// updatedAfter reads the parameter of that name, seconds since 1970 (or milliseconds, see
// [Config]). NinjaOne knows dates too, which this project does not send.
func (s *Server) updatedAfter(c *call) (time.Time, *reply) {
	text := c.query.Get("updatedAfter")
	if text == "" {
		return time.Time{}, nil
	}
	if number, err := strconv.ParseInt(text, 10, 64); err == nil {
		if s.config.Milliseconds {
			return time.UnixMilli(number), nil
		}
		return time.Unix(number, 0), nil
	}
	return time.Time{}, new(s.violationLocked(c, validationFailure(http.StatusBadRequest, "invalid_date", map[string]any{"updatedAfter": text})))
}

// reportFieldsDetailed makes a row of each device that the filter wants and that has values to show.
func (s *Server) reportFieldsDetailed(c *call) reply {
	return s.report(c, func() ([]map[string]any, *reply) {
		since, refused := s.updatedAfter(c)
		if refused != nil {
			return nil, refused
		}
		list, refused := s.filteredDevices(c)
		if refused != nil {
			return nil, refused
		}
		var rows []map[string]any
		for _, d := range list {
			values := s.wantedValues(c, Target{DeviceKind, d.ID}, since)
			if len(values) == 0 {
				continue
			}
			var fields []map[string]any
			for _, name := range slices.Sorted(maps.Keys(values)) {
				value := values[name]
				fields = append(fields, map[string]any{
					"name": name, "value": s.answered(value), "updateTime": s.epoch(value.updatedAt), "updatedBy": map[string]any{"source": value.updatedBy},
				})
			}
			rows = append(rows, map[string]any{"deviceId": d.ID, "entityId": d.ID, "entityType": string(DeviceKind), "fields": fields})
		}
		return rows, nil
	})
}
