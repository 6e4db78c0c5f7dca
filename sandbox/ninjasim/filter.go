package ninjasim

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// filter is a device filter.
type filter struct {
	wants func(Device) bool
	// organization is the only one with devices that are wanted; 0 when there may be several.
	organization int
}

// parseFilter compiles a device filter: conditions joined by AND, and or &&. There is no OR. Known
// keys are org, loc, id (an integer or a list) and class (a node class or a list). Further ones are
// status (PENDING or APPROVED) and the bare words online and offline. A filter without status, or
// an empty one, means approved devices only. It refuses the documented keys role, created and
// group, because devices here have none of these.
func parseFilter(text string) (filter, error) {
	words, err := filterWords(text)
	if err != nil {
		return filter{}, err
	}
	p := filterParser{words: words}
	var conditions []func(Device) bool
	for len(p.words) > 0 {
		if len(conditions) > 0 {
			if joint := strings.ToLower(p.next()); joint != "and" && joint != "&&" {
				return filter{}, fmt.Errorf("%q where AND is needed", joint)
			}
		}
		condition, err := p.condition()
		if err != nil {
			return filter{}, err
		}
		conditions = append(conditions, condition)
	}
	if !p.status {
		conditions = append(conditions, func(d Device) bool { return d.ApprovalStatus == "APPROVED" })
	}
	wants := func(d Device) bool {
		return !slices.ContainsFunc(conditions, func(holds func(Device) bool) bool { return !holds(d) })
	}
	return filter{wants, p.organization}, nil
}

var filterWord = regexp.MustCompile(`^(?:[A-Za-z0-9_.:-]+|&&|!in\b|!=|<>|=|\(|\)|,)`)

func filterWords(filter string) ([]string, error) {
	var words []string
	for rest := strings.TrimLeft(filter, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word := filterWord.FindString(rest)
		if word == "" {
			return nil, fmt.Errorf("cannot be read from %q on", rest)
		}
		words, rest = append(words, word), rest[len(word):]
	}
	return words, nil
}

type filterParser struct {
	words        []string
	status       bool // a condition on status was seen
	organization int  // of a condition that names a single one
}

func (p *filterParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *filterParser) condition() (func(Device) bool, error) {
	key := strings.ToLower(p.next())
	switch key {
	case "org", "organization":
		if len(p.words) > 1 && (p.words[0] == "=" || strings.EqualFold(p.words[0], "eq")) {
			p.organization, _ = strconv.Atoi(p.words[1])
		}
		return p.comparison(anInteger, func(d Device) string { return strconv.Itoa(d.OrganizationID) })
	case "loc", "location":
		return p.comparison(anInteger, func(d Device) string { return strconv.Itoa(d.OrganizationID) })
	case "id":
		return p.comparison(anInteger, func(d Device) string { return strconv.Itoa(d.ID) })
	case "class":
		return p.comparison(aNodeClass, func(d Device) string { return d.NodeClass })
	case "status":
		p.status = true
		return p.comparison(aStatus, func(d Device) string { return d.ApprovalStatus })
	case "online":
		return func(d Device) bool { return !d.Offline }, nil
	case "offline":
		return func(d Device) bool { return d.Offline }, nil
	case "role", "created", "group":
		return nil, fmt.Errorf("key %s is not simulated", key)
	default:
		return nil, fmt.Errorf("unknown key %q", key)
	}
}

// comparison reads an operator and its value or list of values.
func (p *filterParser) comparison(check func(string) error, of func(Device) string) (func(Device) bool, error) {
	operator := strings.ToLower(p.next())
	var list, negated bool
	switch operator {
	case "=", "eq":
	case "!=", "<>", "neq":
		negated = true
	case "in":
		list = true
	case "!in", "nin", "notin":
		list, negated = true, true
	default:
		return nil, fmt.Errorf("unknown operator %q", operator)
	}
	var values []string
	if !list {
		values = []string{p.next()}
	} else {
		if p.next() != "(" {
			return nil, errors.New("a list in parentheses is needed after " + operator)
		}
		for end := ","; end == ","; {
			values = append(values, p.next())
			if end = p.next(); end != "," && end != ")" {
				return nil, errors.New("the list is not closed")
			}
		}
	}
	for _, value := range values {
		if err := check(value); err != nil {
			return nil, err
		}
	}
	return func(d Device) bool { return slices.Contains(values, of(d)) != negated }, nil
}

func anInteger(value string) error {
	if number, err := strconv.Atoi(value); err != nil || strconv.Itoa(number) != value {
		return fmt.Errorf("%q is not an integer", value)
	}
	return nil
}

func aStatus(value string) error {
	if value != "PENDING" && value != "APPROVED" {
		return fmt.Errorf("%q is not a status to filter by", value)
	}
	return nil
}

func aNodeClass(value string) error {
	if !slices.Contains(contractEnum("NodeClass"), value) {
		return fmt.Errorf("%q is not a node class", value)
	}
	return nil
}
