// Package storage opens an Azure Storage account from the app's settings. It gives thin
// clients of its tables, queues and blobs.
//
// It knows Azure Storage and nothing else: no table of CIPP, no message of ours, no
// NinjaOne. A missing table, queue or container reads as empty, and the first write
// creates it. Errors tell the operation and what the service answered, never a key, a
// signature or stored content.
package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"cipp-ninjaone/handler/internal/netfault"
	"cipp-ninjaone/handler/internal/words"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotFound   = errors.New("not found")                                                       // the row, blob, or the table or container that would hold it
	ErrExists     = errors.New("exists already")                                                  // an insert met an existing row
	ErrConflict   = errors.New("changed by someone else")                                         // the ETag given is not the present one
	ErrNewer      = errors.New("a newer version of this app wrote it; deploy that version again") // Account.Upto
	ErrLeaseTaken = errors.New("the lease is held by another")                                    // Container.Lease
	ErrLeaseLost  = errors.New("the lease was lost or has ended")                                 // cause of Lease.Context
)

// Error is a refusal of the storage service or a failure to reach it.
type Error struct {
	Op     string // what was being done, for example "read a row of table CippLogs"
	Status int    // HTTP status; 0 when there was no answer
	Code   string // the service's error code, for example "TableNotFound"
	kind   error
	cause  error
}

// Error words the failure in one line, with what to do where that is known.
func (e *Error) Error() string {
	if e.Status == 0 && e.Code == "" {
		return e.Op + ": " + oneLine(e.cause)
	}
	text := fmt.Sprintf("%s: storage answered %d %s", e.Op, e.Status, e.Code)
	if hint := hintOf(e.Status, e.Code); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// Unwrap gives the kind of failure, for example ErrNotFound, and the cause.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// Doing says of a failure what was being done, in the words of format; nil stays nil.
func Doing(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

func wrap(err error, op string) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, cause: err, Code: codeOf(err)}
	if re, ok := errors.AsType[*azcore.ResponseError](err); ok {
		e.Status = re.StatusCode
	}
	e.kind = kindOf(e.Status, e.Code)
	return e
}

// batchCode finds the code of the failed operation in a transaction's multipart answer,
// whose own status is 202.
var batchCode = regexp.MustCompile(`"code"\s*:\s*"(\w+)"`)

func codeOf(err error) string {
	re, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return ""
	}
	if re.ErrorCode == "" && re.StatusCode == http.StatusAccepted {
		if m := batchCode.FindStringSubmatch(re.Error()); m != nil {
			return m[1]
		}
	}
	return re.ErrorCode
}

func kindOf(status int, code string) error {
	switch code {
	case "TableNotFound", "ResourceNotFound", "EntityNotFound", "QueueNotFound", "BlobNotFound", "ContainerNotFound":
		return ErrNotFound
	case "EntityAlreadyExists", "TableAlreadyExists", "BlobAlreadyExists", "ContainerAlreadyExists", "QueueAlreadyExists":
		return ErrExists
	case "UpdateConditionNotSatisfied", "ConditionNotMet":
		return ErrConflict
	case "LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired":
		return ErrLeaseTaken
	}
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusPreconditionFailed:
		return ErrConflict
	}
	return nil
}

func hintOf(status int, code string) string {
	switch {
	case strings.HasSuffix(code, "BeingDeleted"):
		return "it was deleted a moment ago and cannot be made anew for about a minute; try again then"
	case code == "AuthorizationPermissionMismatch":
		return "the app's identity lacks a data role on the storage account, such as Storage Table Data Contributor"
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return "check the account key or the role assignments in the app's settings, and the storage account's firewall"
	}
	return ""
}

// oneLine words an error without the request's URL, which may carry a
// signature.
func oneLine(err error) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if explained := netfault.Explain(err); explained != err {
		return "storage cannot be reached: " + explained.Error()
	}
	return words.Clip(strings.Join(strings.Fields(err.Error()), " "), 300)
}

// creating runs a write. When the table, queue or container is missing, it creates that
// by the SDK's method and runs the write again.
func creating[O, R any](ctx context.Context, missing, op string, create func(context.Context, *O) (R, error), write func(context.Context) error) error {
	err := write(ctx)
	if codeOf(err) != missing {
		return wrap(err, op)
	}
	_, err = create(ctx, nil)
	if err := wrap(err, op+": create what is missing"); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	return wrap(write(ctx), op)
}
