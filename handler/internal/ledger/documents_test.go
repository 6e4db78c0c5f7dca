package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/handler/internal/storage"
	"cipp-ninjaone/sandbox/fail"
)

var documentsDiff = cmp.AllowUnexported(packedValue{})

// TestDocumentRows reads rows as the first version wrote them, and
// writes them as they were.
func TestDocumentRows(t *testing.T) {
	const partition = "eu.ninjarmm.com|7|11111111-0000-4000-8000-000000000001"
	device := func(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDevice, ID: id} }
	document := func(id int) ninjaone.Entity { return ninjaone.Entity{Type: ninjaone.EntityDocument, ID: id} }
	listed := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	rows := []storage.Entity{
		{"PartitionKey": partition, "RowKey": "documents", "Version": int32(1), "UserTemplate": int64(3), "UserListed": listed,
			"LicenseTemplate": int64(0), "Related": listed},
		{"PartitionKey": partition, "RowKey": "user-22222222-0000-4000-8000-000000000002", "Version": int32(1),
			"DocumentId": int64(8589934592), "Archived": true, "Tried": int64(1795424400),
			"Fields":  `{"cippUserGroups":"?","cippUserLinks":"-","documentName":"0102030405060708090a0b0c"}`,
			"Refused": "name:0c0b0a090807060504030201", "Reason": "taken",
			"Attempt":    `{"begun":"2026-11-23T09:00:00Z","part":3,"unnamed":true,"name":"0c0b0a090807060504030201","reason":"taken","hosts":{"15":0,"200":4},"unlinked":"gone"}`,
			"Relations0": "l7=-1,l8=0,l9=-77,d100=5000"},
		{"PartitionKey": partition, "RowKey": "license-33333333-0000-4000-8000-000000000003", "Version": int32(1),
			"DocumentId": int64(9), "Archived": false, "Fields": "{}", "Refused": "", "Reason": "", "Tried": int64(0)},
		{"PartitionKey": "documents-makers", "RowKey": "eu.ninjarmm.com", "Version": int32(1), "Ids": "0,12,130"},
		{"PartitionKey": "documents-brake", "RowKey": "11111111-0000-4000-8000-000000000001", "Version": int32(1),
			"OrganizationId": int64(7), "Archive": int32(11), "Of": int32(40), "Since": listed, "Confirmed": true},
	}
	table := newTestState(t).table
	must(t, table.ReplaceAll(t.Context(), rows))
	d := New(table)
	tenant := d.Documents(Organization{"eu.ninjarmm.com", 7}, "11111111-0000-4000-8000-000000000001")

	documents, progress, err := tenant.Load(t.Context())
	must(t, err)
	user, license := Subject{KindUser, "22222222-0000-4000-8000-000000000002"}, Subject{KindLicense, "33333333-0000-4000-8000-000000000003"}
	want := &Document{
		Subject: user, DocumentID: 1 << 33, Archived: true, Refused: RefusedName("0c0b0a090807060504030201"), Reason: "taken", Tried: listed.Unix(),
		Attempt: &Attempt{Begun: listed, Limit: 3, Unnamed: true, Name: "0c0b0a090807060504030201", Reason: "taken",
			Hosts: map[int64]int{packHost(document(7)): 0, packHost(device(100)): 4}, Unlinked: "gone"},
	}
	want.Fields.Set(NameField, "0102030405060708090a0b0c")
	want.Fields.Set(compose.FieldUserLinks, Cleared)
	want.Fields.Set(compose.FieldUserGroups, Unknown)
	for _, r := range []Relation{{device(100), 5000, Ours}, {document(7), 0, Others}, {document(8), 0, InFlight}, {document(9), 77, Unsure}} {
		want.Relations.Set(r)
		if have, noted := want.Relations.To(r.Host); !noted || have != r {
			t.Errorf("the relation %+v became %+v", r, have)
		}
	}
	if diff := cmp.Diff(map[Subject]*Document{user: want, license: {Subject: license, DocumentID: 9}}, documents, documentsDiff); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Progress{Template: map[Kind]int{KindUser: 3, KindLicense: 0}, Listed: map[Kind]time.Time{KindUser: listed, KindLicense: {}}, Unowned: map[Kind]bool{KindUser: false, KindLicense: false}, Related: listed}, progress); diff != "" {
		t.Error(diff)
	}
	makers, err := d.Makers(t.Context(), "eu.ninjarmm.com")
	must(t, err)
	if !cmp.Equal(makers, map[int]bool{0: true, 12: true, 130: true}) {
		t.Errorf("makers: %v", makers)
	}
	brakes, err := d.Brakes(t.Context())
	must(t, err)
	brake := brakes["11111111-0000-4000-8000-000000000001"]
	if want := (Brake{"11111111-0000-4000-8000-000000000001", 7, 11, 40, listed, true}); brake != want {
		t.Errorf("the brake: %+v", brake)
	}

	must(t, tenant.Save(t.Context(), documents[user], documents[license]))
	must(t, tenant.SaveProgress(t.Context(), progress))
	must(t, d.SaveMakers(t.Context(), "eu.ninjarmm.com", makers))
	must(t, d.PutBrakeOn(t.Context(), brake))
	for _, row := range rows {
		have, err := table.Get(t.Context(), row.PartitionKey(), row.RowKey())
		must(t, err)
		for column := range have {
			if column == "Timestamp" || strings.HasPrefix(column, "odata") {
				delete(have, column)
			}
		}
		if diff := cmp.Diff(row, have); diff != "" {
			t.Errorf("the row %s is written otherwise: %s", row.RowKey(), diff)
		}
	}
}

var must = fail.If

func TestDocumentsAreKept(t *testing.T) {
	d := newTestState(t).Documents(Organization{"eu.ninjarmm.com", 7}, "tenant")
	user := &Document{Subject: Subject{KindUser, "u1"}}
	user.Fields.Set(compose.FieldUserGroups, "written by a later handler")
	user.Fields.Set("unknown", Unknown)
	for n := range 9000 { // more than one column holds
		user.Relations.Set(Relation{ninjaone.Entity{Type: ninjaone.EntityDevice, ID: 100_000 + n}, 5_000_000 + n, Ours})
	}
	must(t, d.Save(t.Context(), user, &Document{Subject: Subject{KindLicense, "s1"}}))
	must(t, d.SaveProgress(t.Context(), Progress{Listed: map[Kind]time.Time{KindUser: time.Now()}}))
	documents, _, err := d.Load(t.Context())
	must(t, err)
	if diff := cmp.Diff(user, documents[user.Subject], documentsDiff); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{compose.FieldUserGroups: Unknown}, documents[user.Subject].Fields.All()); diff != "" {
		t.Errorf("noted of the fields: %s", diff)
	}
	user.Relations = user.Relations[:1]
	must(t, d.Save(t.Context(), user))
	if documents, _, err = d.Load(t.Context()); err != nil || len(documents[user.Subject].Relations) != 1 {
		t.Errorf("relations are left over: %d, %v", len(documents[user.Subject].Relations), err)
	}
	subjects, read, err := d.Subjects(t.Context())
	if err != nil || fmt.Sprint(subjects) != "[{license s1} {user u1}]" || !read[KindUser] || read[KindLicense] {
		t.Errorf("subjects: %v, %v, %v", subjects, read, err)
	}
	must(t, d.Forget(t.Context(), user))
	if documents, _, err = d.Load(t.Context()); err != nil || documents[user.Subject] != nil {
		t.Errorf("the document is still there: %v", err)
	}
}
