package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const in = `go build -o dist/
{"Action":"start","Package":"m/a"}
{"Action":"output","Package":"m/a","Test":"TestFast","Output":"quiet\n"}
{"Action":"pass","Package":"m/a","Test":"TestFast","Elapsed":0.1}
{"Action":"output","Package":"m/a","Test":"TestBad/case","Output":"    bad_test.go:3: why\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad/case","Elapsed":9}
{"Action":"fail","Package":"m/a","Test":"TestBad","Elapsed":2}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t3s\n"}
{"Action":"fail","Package":"m/a","Elapsed":3}
{"Action":"output","Package":"m/b","Output":"PASS\n"}
{"Action":"output","Package":"m/b","Output":"ok  \tm/b\t1s\n"}
{"Action":"pass","Package":"m/b","Elapsed":1}
{"Action":"build-output","ImportPath":"m/c","Output":"c.go:1: syntax error\n"}
{"Action":"output","Package":"m/d","Test":"TestStuck","Output":"waits\n"}
`
	const want = `go build -o dist/
    bad_test.go:3: why
FAIL	m/a	3s
ok  	m/b	1s
c.go:1: syntax error
m/d TestStuck did not end:
waits

The slowest tests:
    2.0 s  m/a TestBad
    0.1 s  m/a TestFast
`
	var out strings.Builder
	if err := report(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
