package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const skuMain = "b0000000-0000-4000-8000-00000000000a"

func TestDecodePage(t *testing.T) {
	tests := []struct {
		name string
		in   string
		n    int // items; -1 = an error
	}{
		{"whole", `{"@odata.context":{"a":[1]},"value":[{"id":"1"},{"id":"2"}],"@odata.nextLink":"n"}`, 2},
		{"empty", `{"value":[]}`, 0},
		{"space after the end", "{\"value\":[]}\r\n", 0},
		{"cut in an item", `{"value":[{"id":"1"},{"id":`, -1},
		{"cut between items", `{"value":[{"id":"1"},`, -1},
		{"cut after the items", `{"value":[{"id":"1"}]`, -1},
		{"no collection", `{"id":"1"}`, -1},
		{"an array", `[{"id":"1"}]`, -1},
		{"null", `{"value":null}`, -1},
		{"twice", `{"value":[{"id":"1"}],"value":[]}`, -1},
		{"goes on", `{"value":[]}{"value":[]}`, -1},
		{"HTML", `<!doctype html>`, -1},
		{"nothing", ``, -1},
		{"another type", `{"value":[{"id":7},{"id":"1","displayName":7},8,null]}`, 1},
		{"a link of another type", `{"value":[],"@odata.nextLink":7}`, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := DecodePage[User](strings.NewReader(test.in), "value")
			if (err != nil) != (test.n < 0) || err == nil && len(p.Items) != test.n {
				t.Errorf("got %d items, %v", len(p.Items), err)
			}
		})
	}
}

func FuzzDecodePage(f *testing.F) {
	for _, seed := range []string{`{"value":[{"id":"1","businessPhones":null,"signInActivity":{"lastSignInDateTime":"x"}}]}`,
		`{"value":[{"id":"g","members@delta":[{"id":"u","@removed":{}}],"@removed":null}],"@odata.deltaLink":"d"}`,
		`{"value":[{"id":"p","displayName":7,"state":"nonCompliant","settingStates":[{"setting":null,"state":"error"},"x"]}]}`, `{"value":null}`,
		`{"responses":[{"id":"1","status":429,"headers":{"Retry-After":3},"body":"e30="}]}`, `{"value":[`, `[`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if p, err := DecodePage[User](strings.NewReader(in), "value"); err == nil {
			for i := range p.Items {
				p.Items[i].Record()
			}
		}
		if p, err := DecodePage[PolicyState](strings.NewReader(in), "value"); err == nil {
			for i := range p.Items {
				if all := p.Items[i].Settings; len(FailingSettings(all)) > len(all) || Stateless(all) && len(all) == 0 {
					t.Errorf("of %+v", p.Items[i])
				}
			}
		}
		if p, err := DecodePage[DeltaObject](strings.NewReader(in), "value"); err == nil {
			all := NewMemberships()
			all.Add(p.Items)
			all.Add(p.Items)
			n := 0
			all.Each(func(m *Membership) {
				n++
				seen := map[string]bool{}
				for _, member := range m.List() {
					if seen[member.ID] {
						t.Errorf("member %q twice", member.ID)
					}
					seen[member.ID] = true
				}
			})
			if n > len(p.Items) {
				t.Errorf("%d groups of %d", n, len(p.Items))
			}
		}
		if p, err := DecodePage[ManagedDevice](strings.NewReader(in), "value"); err == nil {
			for i := range p.Items {
				p.Items[i].Record(true)
			}
		}
		_, _ = DecodePage[BatchResponse](strings.NewReader(in), "responses")
		_, _ = DecodePage[Mailbox](strings.NewReader(in), "value")
		var failure ServiceError
		_ = json.Unmarshal([]byte(in), &failure)
	})
}

// usersPage returns a page of n users as Graph would send it.
func usersPage(n int) string {
	var b strings.Builder
	b.WriteString(`{"@odata.context":"https://graph.example/v1.0/$metadata#users","value":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"a0000000-0000-4000-8000-%012d","displayName":"User Number %d","userPrincipalName":"user%d@tailspin.example","mail":"user%d@tailspin.example","userType":"Member","accountEnabled":true,"jobTitle":"Engineer","department":"Works","officeLocation":null,"mobilePhone":null,"businessPhones":["+1 555 0100"],"proxyAddresses":["SMTP:user%d@tailspin.example","smtp:u%d@tailspin.example"],"createdDateTime":"2022-03-04T05:06:07Z","onPremisesSyncEnabled":null,"assignedLicenses":[{"disabledPlans":[],"skuId":"`+skuMain+`"}],"licenseAssignmentStates":[{"skuId":"`+skuMain+`","state":"Active","lastUpdatedDateTime":"2024-05-06T00:00:00Z"}],"signInActivity":{"lastSignInDateTime":"2026-11-01T00:00:00Z"}}`, i, i, i, i, i, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

func BenchmarkDecode20000Users(b *testing.B) {
	page := usersPage(1000)
	b.SetBytes(int64(20 * len(page)))
	b.ReportAllocs()
	for b.Loop() {
		users := 0
		for range 20 {
			p, err := DecodePage[User](strings.NewReader(page), "value")
			if err != nil {
				b.Fatal(err)
			}
			for i := range p.Items {
				if p.Items[i].Record().Licensed() {
					users++
				}
			}
		}
		if users != 20000 {
			b.Fatalf("%d users", users)
		}
	}
}
