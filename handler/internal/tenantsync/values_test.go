package tenantsync

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
	"cipp-ninjaone/sandbox/ninjasim"
)

// noise is text that hardly gets smaller when it is compressed.
func noise(length int) string {
	rng := rand.New(rand.NewPCG(2, 7))
	var b strings.Builder
	for b.Len() < length {
		b.WriteByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[rng.IntN(62)])
	}
	return b.String()
}

func TestValuesAreKept(t *testing.T) {
	l := newLab(t, 1)
	values := func(id int) map[string]ledger.Value {
		t.Helper()
		kept, err := l.ledger.Values(t.Context(), labOrg, id)
		must(t, err)
		return kept
	}
	check := func(when string, id int, want map[string]ledger.Value) {
		t.Helper()
		if got := values(id); !maps.Equal(got, want) {
			t.Fatalf("%s: %.300v is kept of %d, want %.300v", when, got, id, want)
		}
	}
	check("before the first run", 100, map[string]ledger.Value{})

	l.wrote(wanted{
		organization: {"summary": ninjaone.HTML("<p>Ünser \"Kunde\" & Söhne</p>")},
		device(100):  {"links": ninjaone.HTML("<p>l</p>"), "details": ninjaone.HTML("<p>d</p>"), "compliance": ninjaone.Text("Compliant")},
	})
	check("first run", 0, map[string]ledger.Value{"summary": {Text: "<p>Ünser \"Kunde\" & Söhne</p>", Certain: true}})
	links, details, compliant := ledger.Value{Text: "<p>l</p>", Certain: true}, ledger.Value{Text: "<p>d</p>", Certain: true}, ledger.Value{Text: "Compliant", Certain: true}
	check("first run", 100, map[string]ledger.Value{"links": links, "details": details, "compliance": compliant})

	// One field changes, one is cleared, one stays.
	l.wrote(wanted{device(100): {"links": ninjaone.HTML("<p>m</p>"), "details": ninjaone.Clear(), "compliance": ninjaone.Text("Compliant")}})
	links.Text = "<p>m</p>"
	check("second run", 100, map[string]ledger.Value{"links": links, "details": {Certain: true}, "compliance": compliant})

	// What NinjaOne refuses is not kept.
	l.define(ninjasim.CustomField{Name: "links", Type: "WYSIWYG", DefinitionScope: []string{"NODE"}}, "READ_ONLY")
	l.wrote(wanted{device(100): {"links": ninjaone.HTML("<p>n</p>"), "details": ninjaone.HTML("<p>e</p>")}})
	links.Certain = false // the record says no more than that something was sent
	details.Text = "<p>e</p>"
	check("refused", 100, map[string]ledger.Value{"links": links, "details": details, "compliance": compliant})

	// What is too large for a row is not, and does not leave an older value.
	l.wrote(wanted{device(100): {"details": ninjaone.HTML("<p>" + noise(150_000) + "</p>")}})
	check("too large", 100, map[string]ledger.Value{"links": links, "compliance": compliant})
	large := ninjaone.HTML(strings.Repeat("<tr><td>Alex Example</td><td>alex@contoso.example</td></tr>", 3000))
	l.wrote(wanted{device(100): {"details": large}})
	check("large, and small when compressed", 100, map[string]ledger.Value{"links": links, "details": {Text: large.String(), Certain: true}, "compliance": compliant})
}

// TestARunDoesNotReadValues keeps what a run reads of its state small, whatever
// the values are.
func TestARunDoesNotReadValues(t *testing.T) {
	const devices, size = 8, 40_000
	l := newLab(t, devices)
	desired := wanted{}
	for i := range devices {
		desired[device(100+i)] = ninjaone.Fields{"details": ninjaone.HTML("<p>" + noise(size) + fmt.Sprint(i) + "</p>")}
	}
	l.wrote(desired)
	before := l.traffic.Bytes.Load()
	records := l.records()
	if read := l.traffic.Bytes.Load() - before; read > devices*size/10 || read == 0 {
		t.Errorf("%d bytes are read for %d records", read, len(records))
	}
	if n := len(records[device(100)].Fields); n != 1 {
		t.Errorf("a record has %d fields", n)
	}
}

// TestUnmappedValuesAreDropped holds nothing of a field that is not ours any
// more.
func TestUnmappedValuesAreDropped(t *testing.T) {
	l := newLab(t, 1)
	l.wrote(wanted{device(100): {"details": ninjaone.HTML("<p>d</p>"), "links": ninjaone.HTML("<p>l</p>")}})
	l.set(l.now().Add(time.Hour))
	l.ninja.RemoveCustomField("details")
	j := l.job()
	in, p := l.inputs(j), &Plan{}
	in.mapped, in.mappedSaid, in.fields = map[string]string{deviceLinks: "links"}, true, mappedFields{deviceLinks: "links"}
	must(t, j.readFormerFields(t.Context(), in))
	p.remap(in)
	must(t, l.ledger.SaveRemapped(t.Context(), labOrg, p.remapped))
	row, err := l.table.Get(t.Context(), labOrg.Partition(), "device-100")
	must(t, err)
	kept := ledger.Kept(row, map[string]string{"details": ledger.Unknown, "links": ledger.Unknown})
	if _, there := kept["details"]; there || kept["links"].Text != "<p>l</p>" {
		t.Errorf("the row still holds %v", kept)
	}
}
