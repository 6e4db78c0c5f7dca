package ninjaone

import (
	"net/http"
	"testing"
)

func TestPool(t *testing.T) {
	pool := NewPool(testDeps())
	client := func(instance, id string) *Client {
		t.Helper()
		c, err := pool.Client(instance, id)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := client("eu.ninjarmm.com", "a")
	if client("https://EU.ninjarmm.com/ws", "a") != first {
		t.Error("two spellings of an instance have two clients")
	}
	if client("eu.ninjarmm.com", "b") == first || client("oc.ninjarmm.com", "a") == first {
		t.Error("a client is shared where it must not be")
	}
	if host := client("https://OC.ninjarmm.com/ws", "a").Instance(); host != "oc.ninjarmm.com" {
		t.Errorf("the client's instance is %q", host)
	}
	if got := first.base.String(); got != "https://eu.ninjarmm.com" {
		t.Errorf("base %s", got)
	}
	for name, args := range map[string][2]string{"foreign host": {"example.com", "a"}, "no client id": {"eu.ninjarmm.com", ""}} {
		if c, err := pool.Client(args[0], args[1]); err == nil {
			t.Errorf("%s: got %v, want an error", name, c)
		}
		if c, err := New(Deps{Instance: args[0], ClientID: args[1], Transport: http.DefaultTransport}); err == nil {
			t.Errorf("%s: got %v without a pool, want an error", name, c)
		}
	}
}
