package storage

import (
	"errors"
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
	if err := c.PutIfMatch(ctx, "a/b.json", nil, `"0x1"`); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
		t.Errorf("writing a version of a missing blob gave %v", err)
	}

	must(t, c.Put(ctx, "a/b.json", []byte("one")))
	data, etag, err := c.GetVersion(ctx, "a/b.json")
	must(t, err)
	if string(data) != "one" || etag == "" {
		t.Errorf("read %q in version %q", data, etag)
	}
	must(t, c.PutIfMatch(ctx, "a/b.json", []byte("two"), etag))
	wantErr(t, c.PutIfMatch(ctx, "a/b.json", []byte("three"), etag), ErrConflict)
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
