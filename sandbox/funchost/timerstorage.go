package funchost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

// hostsContainer is the blob container in which hosts keep their own state.
const hostsContainer = "azure-webjobs-hosts"

// timerStorage keeps the status and the lock of one host's timers in blobs.
type timerStorage struct {
	container *container.Client
	hostID    string
}

func newTimerStorage(connectionString, hostID string) (*timerStorage, error) {
	client, err := azblob.NewClientFromConnectionString(connectionString, &azblob.ClientOptions{ClientOptions: storageClientOptions()})
	if err != nil {
		return nil, fmt.Errorf("opening the blob storage of %s for timers: %w", storageSetting, err)
	}
	return &timerStorage{container: client.ServiceClient().NewContainerClient(hostsContainer), hostID: hostID}, nil
}

// blobStatus is the statusStore of one timer.
type blobStatus struct {
	storage *timerStorage
	name    string
}

func (s *timerStorage) status(function string) *blobStatus {
	return &blobStatus{storage: s, name: "timers/" + s.hostID + "/Host.Functions." + function + "/status"}
}

func (b *blobStatus) get(ctx context.Context) (*timerStatus, error) {
	res, err := b.storage.container.NewBlockBlobClient(b.name).DownloadStream(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var status timerStatus
	if err := json.Unmarshal(text, &status); err != nil {
		return nil, err
	}
	return &status, nil
}

func (b *blobStatus) put(ctx context.Context, status timerStatus) error {
	text, err := json.Marshal(status)
	if err != nil {
		return err
	}
	return b.storage.upload(ctx, b.name, text, nil)
}

// upload writes a blob and creates the container when it is missing.
func (s *timerStorage) upload(ctx context.Context, name string, content []byte, options *blockblob.UploadOptions) error {
	put := func() error {
		_, err := s.container.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(bytes.NewReader(content)), options)
		return err
	}
	err := put()
	if bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if _, err = s.container.Create(ctx, nil); err == nil || bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			err = put()
		}
	}
	return err
}

// lock takes the lease that makes a timer run on one host only. It returns nil
// without an error when another host has it.
func (s *timerStorage) lock(ctx context.Context, function string, period time.Duration) (*lease.BlobClient, error) {
	name := "locks/" + s.hostID + "/Host.Functions." + function + ".Listener"
	none := &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)},
	}}
	err := s.upload(ctx, name, nil, none)
	if err != nil && !bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.LeaseIDMissing) {
		return nil, fmt.Errorf("creating the lock of a timer: %w", err)
	}
	client, err := lease.NewBlobClient(s.container.NewBlobClient(name), nil)
	if err != nil {
		return nil, err
	}
	_, err = client.AcquireLease(ctx, int32(period/time.Second), nil)
	switch {
	case bloberror.HasCode(err, bloberror.LeaseAlreadyPresent):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("taking the lock of a timer: %w", err)
	}
	return client, nil
}

// runSingleton runs a timer on the one host that has its lock. While another host has the
// lock, it tries again.
func (h *Host) runSingleton(ctx context.Context, f *function, t *timer) {
	for ctx.Err() == nil {
		held, err := h.storage.lock(ctx, f.name, h.options.listenerLock)
		if err != nil && ctx.Err() == nil {
			h.log.Error("a timer's lock cannot be taken; it is tried again", "function", f.name, "error", err)
		}
		if held == nil {
			waitUntil(ctx, time.Now().Add(h.config.LockRetry))
			continue
		}
		running, cancel := context.WithCancel(ctx)
		renewed := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(renewed)
			h.renewLock(f, held, ended, cancel)
		}()
		t.run(running)
		close(ended)
		cancel()
		<-renewed
		if !h.crashed() {
			ctx, cancel := h.settleContext()
			_, _ = held.ReleaseLease(ctx, nil) // When this fails, the lease runs out.
			cancel()
		}
	}
}

// renewLock renews a lease until ended is closed, and calls lost when it cannot.
func (h *Host) renewLock(f *function, held *lease.BlobClient, ended <-chan struct{}, lost func()) {
	tick := time.NewTicker(h.options.listenerLock / 3)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-h.work.Done():
			return
		case <-tick.C:
			if _, err := held.RenewLease(h.work, nil); err != nil {
				h.log.Error("a timer's lock was lost; the timer stops here until it is taken again", "function", f.name, "error", err)
				lost()
				return
			}
		}
	}
}
