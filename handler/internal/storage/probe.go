package storage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"
)

// The probes find out what the app may do with an account. What they make has a name that
// nobody else uses, and is gone when they return. Only a process that dies meanwhile
// leaves it behind, empty.

// probeCleanup bounds the removal of what a probe made. It comes on top of the probe's
// own time.
const probeCleanup = 15 * time.Second

// TryTables makes a table, writes, reads and deletes a row in it, and deletes
// the table. It needs the role Storage Table Data Contributor.
func (a *Account) TryTables(ctx context.Context) error {
	name := "ninjaonecheck" + strings.ToLower(rand.Text())
	client := a.tables.NewClient(name)
	return probe(ctx, "a table", client.CreateTable, client.Delete, func() error {
		t := a.Table(name)
		if err := t.Insert(ctx, Entity{partitionKey: "check", rowKey: "row", "Value": "1"}); err != nil {
			return err
		}
		e, err := t.Get(ctx, "check", "row")
		if err != nil {
			return err
		}
		if err := t.MergeIfMatch(ctx, Entity{partitionKey: "check", rowKey: "row", "Value": "2"}, e.ETag()); err != nil {
			return err
		}
		return t.Delete(ctx, "check", "row")
	})
}

// TryQueues makes a queue, puts a message into it, takes and deletes it, and
// deletes the queue. It needs the role Storage Queue Data Contributor.
func (a *Account) TryQueues(ctx context.Context) error {
	client := a.queues.NewQueueClient("ninjaone-check-" + strings.ToLower(rand.Text()))
	return probe(ctx, "a queue", client.Create, client.Delete, func() error {
		text := base64.StdEncoding.EncodeToString([]byte(`{"check":true}`))
		if _, err := client.EnqueueMessage(ctx, text, &azqueue.EnqueueMessageOptions{TimeToLive: to.Ptr[int32](60)}); err != nil {
			return wrap(err, "put a message into a queue")
		}
		taken, err := client.DequeueMessage(ctx, nil)
		if err != nil {
			return wrap(err, "take a message from a queue")
		}
		for _, m := range taken.Messages {
			if _, err := client.DeleteMessage(ctx, value(m.MessageID), value(m.PopReceipt), nil); err != nil {
				return wrap(err, "delete a message of a queue")
			}
		}
		return nil
	})
}

// TryBlobs makes a container, writes, leases, reads and deletes a blob in it,
// and deletes the container. It needs the role Storage Blob Data Contributor.
func (a *Account) TryBlobs(ctx context.Context) error {
	name := "ninjaone-check-" + strings.ToLower(rand.Text())
	client := a.blobs.NewContainerClient(name)
	return probe(ctx, "a blob container", client.Create, client.Delete, func() error {
		c := a.Container(name)
		if err := c.Put(ctx, "check", []byte("1")); err != nil {
			return err
		}
		lease, err := c.Lease(ctx, "check", minLease)
		if err != nil {
			return err
		}
		lease.Release()
		if _, err := c.Get(ctx, "check"); err != nil {
			return err
		}
		return c.Delete(ctx, "check")
	})
}

// probe makes something by the SDK's methods, tries it, and removes it again.
func probe[C, Made, D, Gone any](ctx context.Context, what string, make func(context.Context, *C) (Made, error), remove func(context.Context, *D) (Gone, error), try func() error) error {
	if _, err := make(ctx, nil); err != nil {
		return wrap(err, "make "+what)
	}
	err := try()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeCleanup)
	defer cancel()
	_, left := remove(ctx, nil)
	return errors.Join(err, wrap(left, "delete "+what))
}

// Readable reads at most one row of the table and reports whether the table is
// there.
func (t *Table) Readable(ctx context.Context) (exists bool, err error) {
	_, err = t.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{Top: to.Ptr[int32](1)}).NextPage(ctx)
	if codeOf(err) == string(aztables.TableNotFound) {
		return false, nil
	}
	return err == nil, wrap(err, t.op("read"))
}

// Changeable tries to change and to delete a row that does not exist. That changes
// nothing, and still tells whether the service would allow it. A missing table is fine.
// Whether rows may be added it cannot tell; no role of Azure's own allows one without the
// other.
func (t *Table) Changeable(ctx context.Context) error {
	keys := Entity{partitionKey: "ninjaone-check", rowKey: rand.Text()}
	body, err := keys.encode()
	if err != nil {
		return err
	}
	etag := azcore.ETag(`W/"datetime'2000-01-01T00%3A00%3A00.0000000Z'"`)
	_, err = t.client.UpdateEntity(ctx, body, &aztables.UpdateEntityOptions{IfMatch: &etag, UpdateMode: aztables.UpdateModeMerge})
	if err := unlessGone(wrap(err, t.op("change a row of"))); err != nil {
		return err
	}
	_, err = t.client.DeleteEntity(ctx, keys.PartitionKey(), keys.RowKey(), nil)
	return unlessGone(wrap(err, t.op("delete a row of")))
}

func unlessGone(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// Refused reports whether storage answered that it does not allow what was asked. The
// cause is a role, a right of the signature, a key or the firewall.
func Refused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized)
}

// Clock returns the time by the account's own clock, to the second, with any
// answer of its tables.
func (a *Account) Clock(ctx context.Context) (time.Time, error) {
	var answer *http.Response
	_, err := a.tables.NewListTablesPager(&aztables.ListTablesOptions{Top: to.Ptr[int32](1)}).NextPage(policy.WithCaptureResponse(ctx, &answer))
	if answer == nil {
		return time.Time{}, wrap(err, "ask storage for its time")
	}
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("ask storage for its time: it tells none")
	}
	return at, nil
}
