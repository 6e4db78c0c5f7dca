package gallery

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

const ring = "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z"

// icons stand in for Font Awesome's, which cannot be shipped: path data on a grid of 24, drawn as lines. They are rough on
// purpose; a name that is missing here is shown as a diamond.
var icons = map[string]string{
	"arrow-up-right-from-square": "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
	"ban":                        ring + "M6 6l12 12",
	"bolt":                       "M13 2L5 14h6l-1 8 8-12h-6z",
	"bug":                        "M8 9a4 4 0 0 1 8 0v6a4 4 0 0 1-8 0zM4 12h4M16 12h4M5 6l3 3M19 6l-3 3M5 19l3-3M19 19l-3-3M12 9v10",
	"building":                   "M5 3h14v18H5zM9 7h2M13 7h2M9 11h2M13 11h2M10 21v-5h4v5",
	"chart-column":               "M4 3v17h17M9 16v-5M14 16V7M19 16v-8",
	"circle-check":               ring + "M8 12.5l3 3 5-6",
	"circle-info":                ring + "M12 11v6M12 7.5v.1",
	"circle-minus":               ring + "M8 12h8",
	"circle-question":            ring + "M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3q-1 .5-1 1.7M12 17v.1",
	"circle-xmark":               ring + "M9 9l6 6M15 9l-6 6",
	"clock":                      ring + "M12 7v5l4 2",
	"cloud":                      "M7 19a5 5 0 0 1-.5-10A6 6 0 0 1 18 10a4.5 4.5 0 0 1 0 9z",
	"comments":                   "M3 4h13v9H8l-5 4zM19 9h2v12l-4-4h-7v-1",
	"compass":                    ring + "M15.5 8.5l-2 5-5 2 2-5z",
	"envelope":                   "M3 5h18v14H3zM3 6l9 7 9-7",
	"eye":                        "M2 12c4-8 16-8 20 0-4 8-16 8-20 0zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
	"file-invoice":               "M6 3h9l4 4v14H6zM9 11h7M9 15h7",
	"gauge":                      "M3 18a9 9 0 1 1 18 0M12 18l4-7",
	"gear":                       "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v4M12 18v4M2 12h4M18 12h4M5 5l2.5 2.5M16.5 16.5L19 19M5 19l2.5-2.5M16.5 7.5L19 5",
	"id-badge":                   "M5 4h14v17H5zM10 2h4v4h-4zM12 13a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 18q0-3 4-3t4 3",
	"key":                        "M8 16a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12.5 11.5H22v4M18 11.5v3",
	"laptop":                     "M5 5h14v10H5zM2 19h20",
	"link":                       "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1.5 1.5M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1.5-1.5",
	"list-check":                 "M10 6h10M10 12h10M10 18h10M3 6l1.5 1.5L7 5M3 12l1.5 1.5L7 11M4 18h2",
	"lock":                       "M5 11h14v10H5zM8 11V7a4 4 0 0 1 8 0v4",
	"lock-open":                  "M5 11h14v10H5zM8 11V7a4 4 0 0 1 7.5-2",
	"magnifying-glass":           "M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l6 6",
	"microchip":                  "M6 6h12v12H6zM9 2v4M15 2v4M9 18v4M15 18v4M2 9h4M2 15h4M18 9h4M18 15h4M10 10h4v4h-4z",
	"right-to-bracket":           "M4 12h11M11 7l5 5-5 5M15 4h5v16h-5",
	"scale-balanced":             "M12 3v18M7 21h10M5 7h14M5 7l-3 7h6zM19 7l-3 7h6z",
	"share-nodes":                "M6 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM18 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM18 22a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8.7 10.5l6.6-4M8.7 13.5l6.6 4",
	"shield-halved":              "M12 3l8 3v6c0 5-4 8-8 9-4-1-8-4-8-9V6zM12 3v18M12 9h7M12 15h5",
	"sliders":                    "M4 7h16M4 12h16M4 17h16M8 5v4M15 10v4M10 15v4",
	"triangle-exclamation":       "M12 4l9 16H3zM12 10v4M12 17v.1",
	"user":                       "M12 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21q0-7 8-7t8 7",
	"user-gear":                  "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21q0-7 8-7M18 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM18 13v3M18 20v3M13 18h3M20 18h3",
	"user-plus":                  "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21q0-7 8-7 3 0 4 1M19 13v8M15 17h8",
	"user-shield":                "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21q0-7 8-7M18 12l4 2v3q0 4-4 5-4-1-4-5v-3z",
	"user-tag":                   "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21q0-7 8-7M14 14h4l5 4-4 4-5-4z",
	"users":                      "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2 20q0-6 7-6t7 6M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5q4 1 4 5.5",
}

// microsoft is drawn as areas.
const microsoft = "M3 3h8v8H3zM13 3h8v8h-8zM3 13h8v8H3zM13 13h8v8h-8z"

// sameIcon are names that look alike at this size.
var sameIcon = map[string]string{
	"gears": "gear", "user-group": "users", "users-line": "users", "users-gear": "user-gear", "clock-rotate-left": "clock", "user-pen": "user-gear",
}

// iconStyles makes a style sheet that gives each icon class its shape.
func iconStyles() string {
	var css strings.Builder
	css.WriteString(":root { --icon: " + lines("M12 4l8 8-8 8-8-8z") + "; }\n")
	for _, name := range slices.Sorted(maps.Keys(icons)) {
		fmt.Fprintf(&css, ".fa-%s { --icon: %s; }\n", name, lines(icons[name]))
	}
	fmt.Fprintf(&css, ".fa-microsoft { --icon: %s; }\n", drawing(`<path d="`+microsoft+`"/>`))
	for _, name := range slices.Sorted(maps.Keys(sameIcon)) {
		fmt.Fprintf(&css, ".fa-%s { --icon: %s; }\n", name, lines(icons[sameIcon[name]]))
	}
	return css.String()
}

func lines(path string) string {
	return drawing(`<path fill="none" stroke="#000" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round" d="` + path + `"/>`)
}

func drawing(content string) string {
	return `url("data:image/svg+xml,` + url.PathEscape(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">`+content+`</svg>`) + `")`
}

// gridStyles makes a style sheet with the twelve-column grid: columns and gutters.
func gridStyles() string {
	var css strings.Builder
	css.WriteString(".row { --gx: 1.5rem; --gy: 0rem; display: flex; flex-wrap: wrap; margin: calc(-1 * var(--gy)) calc(-.5 * var(--gx)) 0; }\n" +
		".row > * { flex-shrink: 0; width: 100%; max-width: 100%; padding: 0 calc(.5 * var(--gx)); margin-top: var(--gy); }\n")
	for step, size := range []string{"0", ".25rem", ".5rem", "1rem", "1.5rem", "3rem"} {
		fmt.Fprintf(&css, ".g-%d { --gx: %s; --gy: %s; }\n", step, size, size)
	}
	for _, breakpoint := range []struct {
		name  string
		width int
	}{{"sm", 576}, {"md", 768}, {"lg", 992}, {"xl", 1200}, {"xxl", 1400}} {
		fmt.Fprintf(&css, "@media (min-width: %dpx) {\n", breakpoint.width)
		for n := 1; n <= 12; n++ {
			fmt.Fprintf(&css, ".col-%s-%d { flex: 0 0 auto; width: %.4f%%; }\n", breakpoint.name, n, float64(n)*100/12)
		}
		css.WriteString("}\n")
	}
	return css.String()
}
