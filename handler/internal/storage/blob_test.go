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
		if info.ETag == "" {
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

// TestFind reads rows and blobs that need not be there.
func TestFind(t *testing.T) {
	ctx := t.Context()
	c, table := newContainer(t), emulator(t).Table(azuritetest.UniqueName(t))
	row, err := table.Find(ctx, "p", "r")
	if row != nil || err != nil {
		t.Errorf("a missing row reads as %v, %v", row, err)
	}
	if _, err = table.Find(ctx, "p", "a/b"); err == nil {
		t.Error("a key that cannot be reads as a missing row")
	}
	for _, step := range []struct {
		put  any // or, as bytes, written as they are
		want *[]int
	}{{nil, nil}, {[]int{1, 2}, &[]int{1, 2}}, {[]byte(`[3,"x"]`), nil}, {[]byte{}, nil}} {
		if raw, is := step.put.([]byte); is {
			must(t, c.Put(ctx, "n", raw))
		} else if step.put != nil {
			must(t, c.PutJSON(ctx, "n", step.put))
		}
		got, err := FindJSON[[]int](ctx, c, "n")
		must(t, err)
		if (got == nil) != (step.want == nil) || got != nil && !slices.Equal(*got, *step.want) {
			t.Errorf("after %v: read %v", step.put, got)
		}
	}
	if err := c.PutJSON(ctx, "n", func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
}
