package compose

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// What NinjaOne keeps of a WYSIWYG value.
var (
	allowedElements = strings.Fields("a blockquote caption code col div h1 h2 h3 h4 h5 h6 i li ol p pre span table tbody td tfoot th thead tr ul")

	allowedClass = regexp.MustCompile(`^(card|card-title-box|card-title|card-link-box|card-link|card-body|card-text` +
		`|info-card|success|warning|error|info-icon|info-text|info-title|info-description` +
		`|stat-card|stat-value|stat-desc|danger|other|unknown|btn|secondary|tag|disabled|expired` +
		`|linechart|chart-key|unstyled|text-decoration-none|d-flex|flex-grow-1|p-3|pt-3|pb-3|m-1` +
		`|row|col|col-(sm|md|lg|xl|xxl)-([1-9]|1[0-2])|g[xy]?-[0-5]|fas|fab|fa-[a-z0-9-]+)$`)

	allowedStyles = map[string]*regexp.Regexp{
		"color":            regexp.MustCompile(`^#[0-9a-f]{6}$`),
		"background-color": regexp.MustCompile(`^(#[0-9a-f]{6}|rgb\(\d+,\d+,\d+,0\.\d+\))$`),
		"width":            regexp.MustCompile(`^[0-9]{1,3}%$`),
		"word-break":       regexp.MustCompile(`^(normal|break-all|keep-all|break-word)$`),
	}
)

// checkMarkup fails the test unless value is balanced and holds only what
// NinjaOne keeps.
func checkMarkup(t *testing.T, value string) {
	t.Helper()
	var open []string
	z := html.NewTokenizer(strings.NewReader(value))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("left open: %v", open)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if !slices.Contains(allowedElements, token.Data) {
				t.Errorf("element <%s> is not kept by NinjaOne", token.Data)
			}
			checkAttributes(t, token)
			open = append(open, token.Data)
		case html.EndTagToken:
			token := z.Token()
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Errorf("</%s> closes %v", token.Data, open)
				return
			}
			open = open[:len(open)-1]
		case html.CommentToken, html.DoctypeToken:
			t.Errorf("unexpected %s", kind)
		}
	}
}

func checkAttributes(t *testing.T, token html.Token) {
	t.Helper()
	for _, a := range token.Attr {
		switch {
		case a.Key == "class":
			for _, c := range strings.Fields(a.Val) {
				if !allowedClass.MatchString(c) {
					t.Errorf("<%s>: class %q is not kept by NinjaOne", token.Data, c)
				}
			}
		case a.Key == "style":
			for _, declaration := range strings.Split(a.Val, ";") {
				property, value, _ := strings.Cut(declaration, ":")
				if re := allowedStyles[property]; re == nil || !re.MatchString(value) {
					t.Errorf("<%s>: style %q is not kept by NinjaOne", token.Data, declaration)
				}
			}
		case a.Key == "target" && token.Data == "a" && a.Val == "_blank":
		case a.Key == "href" && token.Data == "a":
			u, err := url.Parse(a.Val)
			if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(a.Val, "<>\"' \t\n") {
				t.Errorf("link %q is not a plain https address", a.Val)
			}
		default:
			t.Errorf("<%s>: attribute %s=%q is not kept by NinjaOne", token.Data, a.Key, a.Val)
		}
	}
}

// hrefs returns the href of every link of a value.
func hrefs(t *testing.T, value string) []string {
	t.Helper()
	var all []string
	for n := range tree(t, value).Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" {
			for _, a := range n.Attr {
				if a.Key == "href" {
					all = append(all, a.Val)
				}
			}
		}
	}
	return all
}

// tree parses a value.
func tree(t *testing.T, value string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// plain returns the text of a value, with one space between pieces.
func plain(t *testing.T, value string) string {
	t.Helper()
	var pieces []string
	for n := range tree(t, value).Descendants() {
		if n.Type == html.TextNode {
			pieces = append(pieces, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(pieces, " ")
}
