package wysiwyg

import (
	"slices"
	"testing"
)

func TestSanitize(t *testing.T) {
	tests := []struct {
		name, value, clean string
		removed            []string
	}{
		{name: "plain text", value: `Fourth Coffee &amp; Sons`, clean: `Fourth Coffee &amp; Sons`},
		{
			name:  "card",
			value: `<div class="card flex-grow-1"><div class="card-title-box"><div class="card-title"><i class="fas fa-users"></i>Users</div></div><div class="card-body"><p>12</p></div></div>`,
			clean: `<div class="card flex-grow-1"><div class="card-title-box"><div class="card-title"><i class="fas fa-users"></i>Users</div></div><div class="card-body"><p>12</p></div></div>`,
		},
		{
			name:  "link",
			value: `<a href="https://example.com/a?b=1&amp;c=2#/x" target="_blank" class="btn secondary">Open</a>`,
			clean: `<a href="https://example.com/a?b=1&amp;c=2#/x" target="_blank" class="btn secondary">Open</a>`,
		},
		{
			name: "emphasis and line break", value: `<p><b>a</b><strong>b</strong><br>c<u>d</u></p>`, clean: `<p>abcd</p>`,
			removed: []string{"element b", "element br", "element strong", "element u"},
		},
		{
			name:    "column group",
			value:   `<table><colgroup><col/></colgroup><tr class="danger"><th scope="row">x</th></tr></table>`,
			clean:   `<table><col/><tr class="danger"><th scope="row">x</th></tr></table>`,
			removed: []string{"element colgroup"},
		},
		{
			name: "code", value: `a<script>alert(1)</script><style>p{}</style><iframe src="https://x"></iframe>b`, clean: `ab`,
			removed: []string{"element iframe", "element script", "element style"},
		},
		{
			name: "form", value: `<form><input value="x"><button>go</button></form><svg></svg><img src="https://x/y.png">`, clean: `go`,
			removed: []string{"element button", "element form", "element img", "element input", "element svg"},
		},
		{
			name:    "attributes",
			value:   `<td id="a" title="b" data-x="c" onclick="d()" colspan="2">e</td>`,
			clean:   `<td>e</td>`,
			removed: []string{"attribute colspan on td", "attribute data-x on td", "attribute id on td", "attribute onclick on td", "attribute title on td"},
		},
		{
			name:    "schemes",
			value:   `<a href="javascript:alert(1)">a</a><a href="http://example.com">b</a><a href="/relative">c</a><a href="mailto:a@example.com">d</a>`,
			clean:   `<a>a</a><a>b</a><a>c</a><a>d</a>`,
			removed: []string{"attribute href on a"},
		},
		{
			name: "target", value: `<a href="https://example.com" target="_top">a</a>`, clean: `<a href="https://example.com">a</a>`,
			removed: []string{"attribute target on a"},
		},
		{
			name: "classes", value: `<div class="row mt-5 col-md-6 col-md-13 g-3 show">a</div>`, clean: `<div class="row col-md-6 g-3">a</div>`,
			removed: []string{"class col-md-13", "class mt-5", "class show"},
		},
		{
			name:  "allowed styles",
			value: `<div style="width: 12.5%; background-color: #1ab; COLOR: rgb(1, 2, 3, 0.5);--size:0.25;margin: 0 4px;white-space: no-wrap">a</div>`,
			clean: `<div style="width: 12.5%; background-color: #1ab; color: rgb(1, 2, 3, 0.5); --size: 0.25; margin: 0 4px; white-space: no-wrap">a</div>`,
		},
		{
			name:  "refused styles",
			value: `<div style="font-weight: bold; display: grid; color: red; width: calc(1px); white-space: nowrap; -webkit-color: #fff; background-color: url(https://x)">a</div>`,
			clean: `<div>a</div>`,
			removed: []string{"style -webkit-color: #fff", "style background-color: url(https://x)", "style color: red", "style display: grid",
				"style font-weight: bold", "style white-space: nowrap", "style width: calc(1px)"},
		},
		{name: "size out of range", value: `<td style="--size: 1.5">a</td>`, clean: `<td>a</td>`, removed: []string{"style --size: 1.5"}},
		{name: "comment and doctype", value: `<!doctype html><!-- a --><p>b</p>`, clean: `<p>b</p>`, removed: []string{"comment", "doctype"}},
		{name: "attribute given twice", value: `<p class="row" class="card">a</p>`, clean: `<p class="row">a</p>`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clean, removed := Sanitize(test.value)
			if clean != test.clean {
				t.Errorf("clean value:\n got %s\nwant %s", clean, test.clean)
			}
			if !slices.Equal(removed, test.removed) {
				t.Errorf("removed:\n got %q\nwant %q", removed, test.removed)
			}
		})
	}
}
