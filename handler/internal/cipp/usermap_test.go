package cipp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cipp-ninjaone/handler/internal/storage"
)

func TestUserMap(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t, Deps{})
	const ann, ben, cid = "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "bbbbbbbb-0000-4000-8000-000000000003"
	const dan = "bbbbbbbb-0000-4000-8000-000000000004" // whose key is there in both cases
	s.seed(t, tableUserMap,
		row(contoso, ann, "NinjaOneID", int32(9001), "M365ID", ann),
		row(contoso, "BBBBBBBB-0000-4000-8000-000000000002", "NinjaOneID", int64(9002), "M365ID", ben),
		row(fabrikam, cid, "NinjaOneID", int32(9003), "M365ID", cid),
		row(partner, strings.ToUpper(dan), "NinjaOneID", int64(1), "M365ID", dan),
		row(partner, dan, "NinjaOneID", int64(2), "M365ID", dan),
	)
	before := map[string]string{}
	for _, e := range s.all(t, tableUserMap) {
		before[e.RowKey()] = e.ETag()
	}
	must(t, s.SaveUserMap(ctx, contoso, []UserMapEntry{
		{ann, 9001}, {"BBBBBBBB-0000-4000-8000-000000000002", 9102}, {cid, 1 << 33}, {"", 1}, {cid, 7},
	}))
	got, err := s.UserMap(ctx, contoso)
	must(t, err)
	if diff := cmp.Diff(map[string]int{ann: 9001, ben: 9102, cid: 1 << 33}, got); diff != "" {
		t.Error(diff)
	}
	for _, e := range s.all(t, tableUserMap) {
		if e.PartitionKey() == contoso && e.RowKey() == ann && e.ETag() != before[ann] {
			t.Error("a row that does not differ was written")
		}
		if e.RowKey() == "BBBBBBBB-0000-4000-8000-000000000002" && e["NinjaOneID"] != int64(9102) {
			t.Errorf("NinjaOneID is %T(%v), and CIPP's is Edm.Int64", e["NinjaOneID"], e["NinjaOneID"])
		}
		if e.RowKey() == cid && e.PartitionKey() == contoso {
			want := storage.Entity{"PartitionKey": contoso, "RowKey": cid, "NinjaOneID": int64(1 << 33), "M365ID": cid}
			delete(e, "Timestamp")
			delete(e, "odata.etag")
			if diff := cmp.Diff(want, e); diff != "" {
				t.Error(diff)
			}
		}
	}
	must(t, s.SaveUserMap(ctx, partner, []UserMapEntry{{dan, 3}}))
	twice, err := s.UserMap(ctx, partner)
	must(t, err)
	if diff := cmp.Diff(map[string]int{dan: 3}, twice); diff != "" {
		t.Errorf("of two rows whose keys differ in case, %s", diff)
	}
	other, err := s.UserMap(ctx, tailspin)
	must(t, err)
	if len(other) != 0 {
		t.Errorf("a tenant without rows has %v", other)
	}
}
