package m365sim

import "testing"

// FuzzFilter checks that no filter text can upset the simulator, and that what
// it accepts has a property, an operator and a literal.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"id eq 'a' or id eq 'b'", "assignedLicenses/$count ne 0", "accountEnabled eq true and userType eq 'Member'",
		"id eq '", "id eq ''''", "'' eq ''", "id  eq 'a'", "id eq 'it''s'", "eq eq eq", "",
	} {
		f.Add(s)
	}
	allowed := []string{"id", "accountEnabled", "userType", "assignedLicenses/$count+"}
	entity := Entity{"id": "a", "accountEnabled": true, "assignedLicenses": []Entity{{}}}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, refusal := parseFilter(s, allowed)
		if refusal != nil {
			if refusal.status != 400 || refusal.violation == "" {
				t.Errorf("%q is refused with %v", s, refusal)
			}
			return
		}
		if len(parsed.terms) == 0 {
			t.Errorf("%q is accepted without a comparison", s)
		}
		parsed.matches(entity)
	})
}

func TestFilterMatches(t *testing.T) {
	entity := Entity{"id": "a", "accountEnabled": true, "userType": "Member", "assignedLicenses": []Entity{{}, {}}}
	allowed := []string{"id", "accountEnabled", "userType", "userType ne", "assignedLicenses/$count"}
	for filter, want := range map[string]bool{
		"id eq 'A'":                            true,
		"id eq 'b'":                            false,
		"id eq 'b' or id eq 'a'":               true,
		"id eq 'b' or id eq 'c'":               false,
		"id eq 'a' and userType eq 'Guest'":    false,
		"id eq 'a' and accountEnabled eq true": true,
		"userType ne 'Guest'":                  true,
		"assignedLicenses/$count ne 0":         true,
		"assignedLicenses/$count eq 2":         true,
	} {
		f, refusal := parseFilter(filter, allowed)
		if refusal != nil || f.matches(entity) != want {
			t.Errorf("%s: %v, want %v (%v)", filter, refusal == nil && f.matches(entity), want, refusal)
		}
	}
}
