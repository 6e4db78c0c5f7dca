package storage

import (
	"slices"
	"testing"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
)

func newContainer(t *testing.T) *Container {
	t.Helper()
	return emulator(t).Container(azuritetest.UniqueName(t))
}

func TestBlobs(t *testing.T) {
	ctx := t.Context()
	c := newContainer(t)
	_, err := c.Get(ctx, "a/b.json")
	wantErr(t, err, ErrNotFound)
	must(t, c.Delete(ctx, "a/b.json"))
	for info, err := range c.List(ctx, "") {
		t.Fatalf("a missing container lists %v, %v", info, err)
	}

	must(t, c.Put(ctx, "a/b.json", []byte("one")))
	must(t, c.Put(ctx, "a/b.json", []byte("two")))
	data, err := c.Get(ctx, "a/b.json")
	must(t, err)
	if string(data) != "two" {
		t.Errorf("read %q", data)
	}
	must(t, c.Put(ctx, "a/it's ü&?.json", []byte("")))
	must(t, c.Put(ctx, "b", []byte("x")))

	var names []string
	for info, err := range c.List(ctx, "a/") {
		must(t, err)
		names = append(names, info.Name)
		if info.ETag == "" || info.Modified.IsZero() || (info.Name == "a/b.json" && info.Size != 3) {
			t.Errorf("listed %+v", info)
		}
	}
	if want := []string{"a/b.json", "a/it's ü&?.json"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
	data, err = c.Get(ctx, "a/it's ü&?.json")
	must(t, err)
	if len(data) != 0 {
		t.Errorf("an empty blob has %q", data)
	}
	must(t, c.Delete(ctx, "b"))
	_, err = c.Get(ctx, "b")
	wantErr(t, err, ErrNotFound)
}
