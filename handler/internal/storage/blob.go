package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Container is one blob container. It is safe for concurrent use.
// https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
type Container struct {
	name   string
	client *container.Client
}

// Container returns the client of a blob container, which need not exist.
func (a *Account) Container(name string) *Container {
	return &Container{name: name, client: a.blobs.NewContainerClient(name)}
}

// Name returns the container's name.
func (c *Container) Name() string { return c.name }

func (c *Container) op(what, name string) string {
	return fmt.Sprintf("%s blob %s/%s", what, c.name, name)
}

// Get reads a blob whole. A missing blob, and a missing container, is
// ErrNotFound.
func (c *Container) Get(ctx context.Context, name string) ([]byte, error) {
	op := c.op("read", name)
	resp, err := c.client.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, wrap(err, op)
	}
	body := resp.NewRetryReader(ctx, nil)
	data, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, wrap(err, op)
	}
	return data, nil
}

// Find is Get of a blob that need not be there: a missing blob, and a missing container,
// is nil.
func (c *Container) Find(ctx context.Context, name string) ([]byte, error) {
	data, err := c.Get(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return data, err
}

// FindJSON decodes a blob. It is nil when the blob is missing or cannot be decoded: what
// this program did not write is worth no more.
func FindJSON[T any](ctx context.Context, c *Container, name string) (*T, error) {
	data, err := c.Find(ctx, name)
	v := new(T)
	if err != nil || json.Unmarshal(data, v) != nil {
		return nil, err
	}
	return v, nil
}

// PutJSON writes a value as a blob of JSON.
func (c *Container) PutJSON(ctx context.Context, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", c.op("write", name), err)
	}
	return c.Put(ctx, name, data)
}

// Put writes a blob whole, whatever is there. It creates a missing container.
func (c *Container) Put(ctx context.Context, name string, data []byte) error {
	return c.put(ctx, name, data, nil)
}

func (c *Container) put(ctx context.Context, name string, data []byte, condition *blob.ModifiedAccessConditions) error {
	o := &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: condition}}
	return creating(ctx, string(bloberror.ContainerNotFound), c.op("write", name), c.client.Create, func(ctx context.Context) error {
		_, err := c.client.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), o)
		return err
	})
}

// Delete removes a blob; a blob that is not there is fine.
func (c *Container) Delete(ctx context.Context, name string) error {
	_, err := c.client.NewBlobClient(name).Delete(ctx, nil)
	if err = wrap(err, c.op("delete", name)); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// BlobInfo describes a blob of a listing.
type BlobInfo struct{ Name, ETag string }

// List gives the blobs whose names begin with prefix, by name. A missing
// container has none. The sequence ends after an error.
func (c *Container) List(ctx context.Context, prefix string) iter.Seq2[BlobInfo, error] {
	return func(yield func(BlobInfo, error) bool) {
		for pager := c.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix}); pager.More(); {
			page, err := pager.NextPage(ctx)
			if err = wrap(err, c.op("list", prefix+"*")); err != nil {
				if !errors.Is(err, ErrNotFound) {
					yield(BlobInfo{}, err)
				}
				return
			}
			for _, item := range page.Segment.BlobItems {
				info := BlobInfo{Name: value(item.Name)}
				if p := item.Properties; p != nil {
					info.ETag = string(value(p.ETag))
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}
