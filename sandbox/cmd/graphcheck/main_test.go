package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cipp-ninjaone/sandbox/m365sim"
)

// TestExcerpt holds the simulator's names to those that Graph publishes.
func TestExcerpt(t *testing.T) {
	var out strings.Builder
	if n, err := check(&out, "testdata/excerpt.xml", false); err != nil || n != 0 || strings.HasPrefix(out.String(), "0 properties") {
		t.Errorf("%d findings, %v:\n%s", n, err, out.String())
	}
}

// TestCheck writes documents from the schema itself, right and with a fault.
func TestCheck(t *testing.T) {
	document := func(change func(entity, property, typ string) string) string {
		var b strings.Builder
		b.WriteString(`<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices><Schema Namespace="microsoft.graph" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="entity"><Property Name="id" Type="Edm.String"/></EntityType>`)
		for _, e := range m365sim.Schema() {
			fmt.Fprintf(&b, `<EntityType Name="%s" BaseType="graph.entity">`, e.Name)
			for _, p := range e.Properties {
				typ := "Edm.String"
				if p.Collection {
					typ = "Collection(Edm.String)"
				}
				if p.Name != "id" && !p.BetaOnly {
					b.WriteString(change(e.Name, p.Name, fmt.Sprintf(`<Property Name="%s" Type="%s"/>`, p.Name, typ)))
				}
			}
			b.WriteString(`</EntityType>`)
		}
		b.WriteString(`</Schema></edmx:DataServices></edmx:Edmx>`)
		return b.String()
	}
	for _, tt := range []struct {
		name   string
		change func(entity, property, element string) string
		want   string
	}{
		{"the same", func(_, _, e string) string { return e }, ""},
		{"a property is missing", func(entity, p, e string) string {
			if entity == "user" && p == "mail" {
				return ""
			}
			return e
		}, "user.mail: no such property"},
		{"a beta property has come to v1.0", func(entity, p, e string) string {
			if entity == "managedDevice" && p == "model" {
				return e + `<Property Name="joinType" Type="graph.joinType"/>`
			}
			return e
		}, "managedDevice.joinType: marked beta only"},
		{"a collection has become single", func(entity, p, e string) string {
			if p == "groupTypes" {
				return strings.ReplaceAll(strings.ReplaceAll(e, "Collection(", ""), ")", "")
			}
			return e
		}, "group.groupTypes: collection or not"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metadata.xml")
			if err := os.WriteFile(path, []byte(document(tt.change)), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			n, err := check(&out, path, false)
			if err != nil {
				t.Fatal(err)
			}
			if (n != 0) != (tt.want != "") || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%d findings:\n%s\nwant %q", n, out.String(), tt.want)
			}
		})
	}
	if _, err := check(&strings.Builder{}, filepath.Join(t.TempDir(), "none.xml"), false); err == nil {
		t.Error("a missing document is no error")
	}
}
