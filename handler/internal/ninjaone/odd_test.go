package ninjaone

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/reply/replytest"
)

// TestOneOddValue puts a value of another type into each place of a record of
// each kind that NinjaOne lists, and expects what null in that place gives: all
// else stays, and the records beside it do.
func TestOneOddValue(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"organizations": func(t *testing.T) {
			oddIn(t, `{"id":7,"name":"Tailspin","description":"toys"}`, false, func(c *Client) ([]Organization, error) { return c.Organizations(t.Context()) })
		},
		"devices": func(t *testing.T) {
			oddIn(t, `{"id":7,"organizationId":3,"locationId":2,"uid":"u","nodeClass":"MAC","approvalStatus":"APPROVED","displayName":"D","systemName":"S","dnsName":"N","netbiosName":"B","offline":true,"lastContact":1700000000.5,"system":{"name":"S","manufacturer":"M","model":"L","serialNumber":"SN","biosSerialNumber":"BN","chassisType":"C","virtualMachine":true},"os":{"name":"O"},"lastLoggedInUser":"A","ipAddresses":["10.0.0.1"],"macAddresses":["02:00:00:00:00:01"]}`,
				false, func(c *Client) ([]Device, error) {
					own, _, err := c.Devices(t.Context(), 3)
					return own, err
				})
		},
		"fields": func(t *testing.T) {
			oddIn(t, `{"name":"n7","label":"L","type":"TEXT","apiPermission":"READ_WRITE","entityType":"NODE","definitionScope":["NODE","ORGANIZATION"],"active":false}`,
				false, func(c *Client) ([]CustomField, error) { return c.CustomFields(t.Context()) })
		},
		"field values": func(t *testing.T) {
			oddIn(t, `{"deviceId":7,"entityId":7,"fields":[{"name":"a","value":{"text":"t","html":"<p>"},"updateTime":1700000000}]}`,
				false, func(c *Client) ([]DeviceFieldValues, error) {
					return collect(c.DeviceFieldValues(t.Context(), 3, nil, time.Time{}, nil))
				})
		},
		"documents": func(t *testing.T) {
			oddIn(t, `{"documentId":7,"documentName":"Ada","organizationId":3,"documentTemplateId":4,"documentUpdateTime":1700000000,"archived":true,"fields":[{"name":"userID","value":"u"},{"name":"x","value":{"text":"t","html":"h"}}],"updatedFields":[{"name":"userID","value":"u"}]}`,
				true, func(c *Client) ([]Document, error) {
					return c.Documents(t.Context(), DocumentQuery{OrganizationID: 3, TemplateIDs: []int{4}, Fields: []string{"userID"}})
				})
		},
		"relations": func(t *testing.T) {
			oddIn(t, `{"id":7,"type":"ENTITY","entityType":"NODE","entityId":1,"relEntityType":"DOCUMENT","relEntityId":2,"createdByAppUserId":5,"createTime":1700000000}`,
				true, func(c *Client) ([]Relation, error) { return c.RelationsOf(t.Context(), Entity{EntityDevice, 1}) })
		},
		"scan groups": func(t *testing.T) {
			oddIn(t, `{"id":7,"groupName":"G","fileName":"f.csv","status":"COMPLETE","recordsProcessed":3,"deviceIdHeader":"d","cveIdHeader":"c","deviceInternalMapping":"HOSTNAME"}`,
				true, func(c *Client) ([]ScanGroup, error) { return c.ScanGroups(t.Context()) })
		},
		"templates": func(t *testing.T) {
			oddIn(t, `{"id":7,"name":"T","description":"D","allowMultiple":true,"archived":true,"fields":[{"fieldId":1,"fieldName":"a","fieldLabel":"A","fieldType":"TEXT","fieldTechnicianPermission":"EDITABLE","fieldScriptPermission":"NONE","fieldApiPermission":"READ_WRITE","fieldContent":{"advancedSettings":{"expandLargeValueOnRender":true}}}]}`,
				true, func(c *Client) ([]Template, error) {
					list, err := c.Templates(t.Context())
					for i := range list { // what is kept for an update holds the odd value itself
						list[i].raw = nil
						for j := range list[i].Fields {
							list[i].Fields[j].raw = nil
						}
					}
					return list, err
				})
		},
	} {
		t.Run(name, func(t *testing.T) { simulate(t, test) })
	}
}

// oddIn reads a list of three records, the middle one mutated. A list that fails
// as a whole without an id may do so, because what it lacks is made again.
func oddIn[T any](t *testing.T, record string, wholly bool, read func(*Client) ([]T, error)) {
	var body []byte
	fake := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("cursor") {
			answer(w, 200, `{"results":[]}`)
			return
		}
		answer(w, 200, string(body))
	})
	c := inProcess(t, fake)
	list := func(middle json.RawMessage) ([]T, error) {
		var first, last map[string]any
		for id, m := range map[int]*map[string]any{1: &first, 9: &last} {
			if err := json.Unmarshal([]byte(record), m); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"id", "deviceId", "documentId"} {
				if _, has := (*m)[key]; has {
					(*m)[key] = id
				}
			}
		}
		all := []any{first, middle, last}
		var err error
		if _, report := first["deviceId"]; report {
			body, err = json.Marshal(map[string]any{"results": all, "cursor": map[string]any{"name": "c"}})
		} else {
			body, err = json.Marshal(all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return read(c)
	}
	whole, err := list(json.RawMessage(record))
	if err != nil || len(whole) != 3 {
		t.Fatalf("the sample: %d records, %v", len(whole), err)
	}
	n := 0
	for m := range replytest.Mutations(json.RawMessage(record)) {
		n++
		want, wantErr := list(m.Absent)
		got, err := list(m.Odd)
		if (err != nil) != (wantErr != nil) || err != nil && !wholly {
			t.Errorf("%s: %v; with null: %v", m.Path, err, wantErr)
			continue
		}
		if err != nil {
			continue
		}
		ofAnyType := strings.Contains(m.Path, "/value") // a field's value
		if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" && !ofAnyType {
			t.Errorf("%s (-null +odd):\n%s", m.Path, diff)
		}
		if !reflect.DeepEqual(got[0], whole[0]) || !reflect.DeepEqual(got[len(got)-1], whole[2]) {
			t.Errorf("%s: the records beside it changed", m.Path)
		}
	}
	if n == 0 {
		t.Error("nothing was mutated")
	}
}

// FuzzAnswers reads any text as each of NinjaOne's lists: whatever it is, it is
// a list or an error, and nothing in it is negative or lacks its id.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`[{"id":7,"organizationId":3,"system":{"serialNumber":12345678},"lastContact":"x"}]`,
		`{"results":[{"deviceId":7,"fields":[{"name":"a","value":{"text":"t","html":5}}]}],"cursor":{"name":"c"}}`,
		`[{"documentId":7,"organizationId":3,"documentTemplateId":4,"fields":[{"name":"userID","value":"u"},null]}]`,
		`[{"id":7,"entityType":"NODE","entityId":1,"relEntityType":"DOCUMENT","relEntityId":2,"createTime":1e99}]`,
		`[{"id":7,"fields":[{"fieldName":"a","fieldContent":[]}]}]`, `[{"name":"a","active":5,"definitionScope":{}}]`, `[`, `null`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		decode := func(decode func(*json.Decoder) error) error {
			r := reply.NewReader(t.Context(), strings.NewReader(in), reply.Page)
			defer r.Close()
			return operation{}.decodeAnswer(&http.Response{StatusCode: 200}, r, decode)
		}
		var devices []Device
		if err := decode(into(&devices, decodeIdentified(func(d Device) int { return d.ID }))); err == nil {
			for _, d := range devices {
				if d.LastContact.Unix() < 0 && !d.LastContact.IsZero() {
					t.Errorf("last contact %v", d.LastContact)
				}
			}
		}
		var values []DeviceFieldValues
		var next cursor
		_ = decode(decodeMembers(map[string]func(*json.Decoder) error{"results": into(&values, decodeList[DeviceFieldValues]), "cursor": into(&next, decodeCursor)}, "results"))
		_ = decode(into(new([]wireDocument), decodeList[wireDocument])) // FuzzDocument looks at each
		var relations []wireRelation
		if err := decode(into(&relations, decodeList[wireRelation])); err == nil {
			for _, r := range relations {
				if got, is := r.relation(); is && (got.Host.ID <= 0 || got.Related.ID <= 0) {
					t.Errorf("a relation of nothing: %+v", got)
				}
			}
		}
		_ = decode(into(new([]Template), decodeList[Template])) // and FuzzTemplateRoundTrip at each of these
		_ = decode(into(new([]CustomField), decodeList[CustomField]))
	})
}
