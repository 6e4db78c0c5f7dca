package storageproxy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"cipp-ninjaone/sandbox/azurite/azuritetest"
	"cipp-ninjaone/sandbox/storageproxy"
)

func TestProxy(t *testing.T) {
	p, err := storageproxy.Start(azuritetest.ForTest(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	once := azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
	tables, err := aztables.NewServiceClientFromConnectionString(p.ConnectionString(), &aztables.ClientOptions{ClientOptions: once})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := azqueue.NewServiceClientFromConnectionString(p.ConnectionString(), &azqueue.ClientOptions{ClientOptions: once})
	if err != nil {
		t.Fatal(err)
	}
	name := azuritetest.UniqueName(t)
	if _, err := tables.NewClient(name).CreateTable(t.Context(), nil); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}
	if _, err := queues.NewQueueClient(name).Create(t.Context(), nil); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}
	add := func(row string) error {
		_, err := tables.NewClient(name).AddEntity(t.Context(), []byte(`{"PartitionKey":"p","RowKey":"`+row+`","Text":"about `+row+`"}`), nil)
		return err
	}
	get := func(row string) error {
		_, err := tables.NewClient(name).GetEntity(t.Context(), "p", row, nil)
		return err
	}

	hits := 0
	remove := p.Inject(storageproxy.Fault{Service: storageproxy.Table, Method: "POST", Path: regexp.MustCompile(name), Holds: []string{"about one"},
		Skip: 1, Count: 1, Status: 503, Code: "ServerBusy", OnHit: func() { hits++ }})
	for _, want := range []string{"", "ServerBusy", "EntityAlreadyExists"} {
		if err := add("one"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := add("two"); err != nil || hits != 1 {
		t.Errorf("another row: %v, %d hits", err, hits)
	}
	remove()

	p.Inject(storageproxy.Fault{Holds: []string{"RowKey='one'"}, Reset: true})
	if get("one") == nil || get("two") != nil {
		t.Error("a fault of one row hit the other")
	}
	p.ClearFaults()

	p.Inject(storageproxy.Fault{Method: "POST", Reset: true, AfterHandling: true})
	if add("three") == nil {
		t.Error("an answer that was to be lost arrived")
	}
	p.ClearFaults()
	if err := get("three"); err != nil {
		t.Errorf("what was to be handled before its answer was lost: %v", err)
	}
}
