package funchost

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// hostPath returns a request's path as the host sees it, with dot segments resolved. It
// undoes every escape but those of the slash and of bytes that are not UTF-8.
func hostPath(escaped string) string {
	var b strings.Builder
	for i := 0; i < len(escaped); {
		run := escapesAt(escaped[i:])
		if run == 0 {
			b.WriteByte(escaped[i])
			i++
			continue
		}
		b.WriteString(unescapeRun(escaped[i : i+run]))
		i += run
	}
	return withoutDots(b.String())
}

// escapesAt returns the length of the escapes (%41%42 and so on) that a text
// begins with.
func escapesAt(s string) int {
	n := 0
	for n+2 < len(s) && s[n] == '%' && isHex(s[n+1]) && isHex(s[n+2]) {
		n += 3
	}
	return n
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unescapeRun(run string) string {
	var parts []string
	for _, part := range splitSlashes(run) {
		decoded, err := url.PathUnescape(part)
		if strings.EqualFold(part, "%2F") || err != nil || !utf8.ValidString(decoded) {
			decoded = part
		}
		parts = append(parts, decoded)
	}
	return strings.Join(parts, "")
}

// splitSlashes cuts a run of escapes before and after each %2F.
func splitSlashes(run string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(run); i += 3 {
		if strings.EqualFold(run[i:i+3], "%2F") {
			parts = append(parts, run[start:i], run[i:i+3])
			start = i + 3
		}
	}
	return append(parts, run[start:])
}

// withoutDots resolves the segments "." and "..", and leaves empty ones.
func withoutDots(path string) string {
	segments := strings.Split(path, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	if joined := strings.Join(out, "/"); strings.HasPrefix(joined, "/") {
		return joined
	}
	return "/" + strings.Join(out, "/")
}

// escapePath escapes what may not stand in a path. With keep, escapes that it
// holds already stay as they are; without, their percent sign is escaped too.
func escapePath(path string, keep bool) string {
	const plain = "-._~!$&'()*+,;=:@/"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		case keep && c == '%' && escapesAt(path[i:]) > 0:
			b.WriteByte(c)
		default:
			writeEscaped(&b, c)
		}
	}
	return b.String()
}

func writeEscaped(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.Write([]byte{'%', digits[c>>4], digits[c&15]})
}

// queryPair is one key of a query with all its values, joined by commas.
type queryPair struct{ key, value string }

// readQuery parses a query as the host does. It takes what it cannot unescape as it is.
// Keys that differ only in case are one.
func readQuery(raw string) []queryPair {
	var pairs []queryPair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		key, value = queryText(key), queryText(value)
		if i := slices.IndexFunc(pairs, func(p queryPair) bool { return strings.EqualFold(p.key, key) }); i >= 0 {
			pairs[i].value += "," + value
			continue
		}
		pairs = append(pairs, queryPair{key, value})
	}
	return pairs
}

func queryText(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return strings.ReplaceAll(s, "+", " ")
}

// writeQuery writes a query anew, as the forwarding style does.
func writeQuery(pairs []queryPair) string {
	const plain = "!$()*,-.;@_~"
	escape := func(s string) string {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if c := s[i]; 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
				b.WriteByte(c)
			} else {
				writeEscaped(&b, c)
			}
		}
		return b.String()
	}
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		parts[i] = escape(p.key) + "=" + escape(p.value)
	}
	return strings.Join(parts, "&")
}
