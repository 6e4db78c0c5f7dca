package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxNamed is how many tenants a finding names to people.
const maxNamed = 10

// NamedTenants words whom a finding concerns, "" for everyone.
func (f Finding) NamedTenants() string {
	if len(f.Tenants) <= maxNamed {
		return strings.Join(f.Tenants, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(f.Tenants[:maxNamed], ", "), len(f.Tenants)-maxNamed)
}

// Summary says in a sentence how the deployment is.
func (r *Report) Summary() string {
	switch {
	case r.Problems == 0 && r.Notices == 0:
		return "No problems were found."
	case r.Problems == 0:
		return fmt.Sprintf("No problems were found; worth knowing: %d.", r.Notices)
	}
	return fmt.Sprintf("Problems: %d. Worth knowing besides: %d.", r.Problems, r.Notices)
}

// WriteText writes the report for a terminal.
func (r *Report) WriteText(out io.Writer) error {
	var b strings.Builder
	for _, s := range r.Sections {
		mark := "ok"
		switch {
		case s.Problems() > 0:
			mark = "PROBLEM"
		case s.Skipped != "":
			mark = "not checked"
		}
		fmt.Fprintf(&b, "%s: %s\n", s.Title, mark)
		if s.Skipped != "" {
			fmt.Fprintf(&b, "  Not looked at, because %s.\n", s.Skipped)
		}
		if s.Checked != "" {
			fmt.Fprintf(&b, "  Looked at: %s.\n", s.Checked)
		}
		for _, f := range s.Findings {
			sign := "!"
			if f.Level == Problem {
				sign = "x"
			}
			fmt.Fprintf(&b, "  %s %s\n", sign, f.What)
			for _, line := range []struct{ label, text string }{{"Tenants: ", f.NamedTenants()}, {"", f.Meaning}, {"To do: ", f.Action}} {
				if line.text != "" {
					fmt.Fprintf(&b, "      %s%s\n", line.label, line.text)
				}
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s It took %s.\n", r.Summary(), r.Ended.Sub(r.Started).Round(100*time.Millisecond))
	_, err := io.WriteString(out, b.String())
	return err
}

// WriteJSON writes the report for machines, as one JSON object.
func (r *Report) WriteJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Problems counts the findings of a section that are problems.
func (s Section) Problems() int {
	n := 0
	for _, f := range s.Findings {
		if f.Level == Problem {
			n++
		}
	}
	return n
}
