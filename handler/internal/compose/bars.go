package compose

import (
	"cmp"
	"slices"
)

// share is one kind of things and how many there are.
type share struct {
	tone  tone
	label string
	n     int
}

// shares makes a bar whose parts are whole percentages that add up to 100. A
// kind that exists is never rounded to nothing.
func shares(caption string, all ...share) bar {
	total := 0
	for _, s := range all {
		total += s.n
	}
	b := bar{Caption: caption, Parts: make([]part, len(all))}
	sum, widest := 0, 0
	for i, s := range all {
		p := percent(float64(s.n), float64(total))
		b.Parts[i] = part{Tone: s.tone, Percent: p, Label: s.label + ": " + count(s.n)}
		if sum += p; p > b.Parts[widest].Percent {
			widest = i
		}
	}
	if total > 0 {
		b.Parts[widest].Percent += 100 - sum
	}
	return b
}

// largest returns the most frequent kinds, and the rest as one.
func largest(kinds map[string]int) []share {
	all := make([]share, 0, len(kinds))
	for label, n := range kinds {
		all = append(all, share{label: label, n: n})
	}
	slices.SortFunc(all, func(a, b share) int { return cmp.Or(cmp.Compare(b.n, a.n), byName(a.label, b.label)) })
	if keep := len(shades) - 1; len(all) > len(shades) {
		rest := share{label: "Other"}
		for _, s := range all[keep:] {
			rest.n += s.n
		}
		all = append(all[:keep], rest)
	}
	for i := range all {
		all[i].tone = shade(i)
	}
	return all
}
