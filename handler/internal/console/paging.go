package console

import (
	"net/url"
	"slices"
	"strconv"

	"cipp-ninjaone/handler/internal/words"
)

// byName sorts a list as people sort names.
func byName[T any](list []T, name func(T) string) {
	slices.SortStableFunc(list, func(a, b T) int { return words.Compare(name(a), name(b)) })
}

// pager leads from one page of a table to the next.
type pager struct {
	Page, Pages, Of int
	Before, After   string // addresses; "" for none
}

// paged returns the rows of the page that is asked for.
func paged[T any](x *exchange, rows []T) ([]T, pager) {
	p := pager{Of: len(rows), Pages: max(1, (len(rows)+rowsPerPage-1)/rowsPerPage)}
	n, _ := strconv.Atoi(x.value("page"))
	p.Page = min(max(1, n), p.Pages)
	address := func(page int) string {
		if page < 1 || page > p.Pages {
			return ""
		}
		q := url.Values{}
		for name, values := range x.r.URL.Query() {
			if name != "done" && name != "n" {
				q[name] = values
			}
		}
		q.Set("page", strconv.Itoa(page))
		return x.base + "/" + x.page + "?" + q.Encode()
	}
	p.Before, p.After = address(p.Page-1), address(p.Page+1)
	from := (p.Page - 1) * rowsPerPage
	return rows[from:min(len(rows), from+rowsPerPage)], p
}
