// Package replytest puts odd values into answers of services, for tests.
package replytest

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// odd are values of every type that a service may send in the place of another.
var odd = []json.RawMessage{
	json.RawMessage(`12345678`), json.RawMessage(`-1.5`), json.RawMessage(`1e999`), json.RawMessage(`true`), json.RawMessage(`"odd"`),
	json.RawMessage(`{}`), json.RawMessage(`{"a":[{"b":1}]}`), json.RawMessage(`[]`), json.RawMessage(`[1,"x",null,{}]`),
}

// Mutation is a record with one odd value.
type Mutation struct {
	Path   string          // where it is, such as /fields/0/name
	Odd    json.RawMessage // the record with a value of another type there
	Absent json.RawMessage // the record with null there, which must decode to the same
}

// Mutations yields the record with each value of it, at any depth, replaced by
// each value of another type.
func Mutations(record json.RawMessage) iter.Seq[Mutation] {
	return func(yield func(Mutation) bool) {
		var tree any
		if err := json.Unmarshal(record, &tree); err != nil {
			panic(fmt.Sprintf("the sample is not JSON: %v", err))
		}
		replace(tree, "", func(v any) json.RawMessage {
			out, err := json.Marshal(v)
			if err != nil {
				panic(err)
			}
			return out
		}, yield)
	}
}

// replace mutates what lies in v; whole encodes the record with v in its place.
func replace(v any, path string, whole func(any) json.RawMessage, yield func(Mutation) bool) bool {
	each := func(name string, child any, with func(any) any) bool {
		around := func(c any) json.RawMessage { return whole(with(c)) }
		for _, o := range odd {
			if kind(o) == kindOf(child) {
				continue
			}
			if !yield(Mutation{path + "/" + name + " = " + string(o), around(o), around(nil)}) {
				return false
			}
		}
		return replace(child, path+"/"+name, around, yield)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !each(name, v[name], func(c any) any { m := maps.Clone(v); m[name] = c; return m }) {
				return false
			}
		}
	case []any:
		for i := range v {
			if !each(strconv.Itoa(i), v[i], func(c any) any { l := slices.Clone(v); l[i] = c; return l }) {
				return false
			}
		}
	}
	return true
}

func kindOf(v any) byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return kind(raw)
}

// kind tells the types of JSON values apart by their first byte.
func kind(raw json.RawMessage) byte {
	switch c := raw[0]; {
	case c == '-' || c >= '0' && c <= '9':
		return '0'
	case c == 'f':
		return 't'
	default:
		return c
	}
}
