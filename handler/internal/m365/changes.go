package m365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/microsoftgraph/msgraph-sdk-go/devices"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"cipp-ninjaone/handler/internal/bounds"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

// DeltaList is a list of Graph that tells what changed in it since a delta link.
type DeltaList string

// The lists that tell their changes.
const (
	DeltaUsers   DeltaList = "users" // with their licences
	DeltaGroups  DeltaList = "groups"
	DeltaRoles   DeltaList = "roles"
	DeltaDevices DeltaList = "devices" // of Entra
)

// deltaPart is the part of a snapshot that a list's changes concern.
var deltaPart = map[DeltaList]part{DeltaUsers: partUsers, DeltaGroups: partGroups, DeltaRoles: partRoles, DeltaDevices: partEntraDevices}

// DeltaLinks say where the next look at each list goes on. Graph holds them for
// seven days. They carry tokens: they are kept, and never logged.
type DeltaLinks map[DeltaList]string

// Changes is what changed in a tenant since a look before.
type Changes struct {
	Changed map[DeltaList]int   // objects that changed, each counted once
	Anew    map[DeltaList]bool  // lists without a link that Graph knows: what changed is not known
	Failed  map[DeltaList]error // lists that could not be read; their links stay
	Links   DeltaLinks          // where the next look goes on
}

// Changes looks what changed in users, groups, directory roles and Entra devices since
// Graph gave out the links. It calls GET /v1.0/users/delta, groups/delta,
// directoryRoles/delta and devices/delta. A list costs one call without changes, and one
// for each further page. A list whose link Graph refuses (410, or 400 with
// syncStateNotFound or resyncRequired) begins anew. The error is an *AuthError when the
// tenant gives no token; one list's failure is in Failed.
func (r *Reader) Changes(ctx context.Context, ref tenant.Ref, since DeltaLinks) (Changes, error) {
	g, err := r.openGraph(ctx, ref)
	if err != nil {
		return Changes{}, err
	}
	out := Changes{Changed: map[DeltaList]int{}, Anew: map[DeltaList]bool{}, Failed: map[DeltaList]error{}, Links: DeltaLinks{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for l := range deltaPart {
		all.Go(func() {
			changed, anew, link, err := g.changesOf(ctx, l, since[l])
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				out.Failed[l], out.Links[l] = notRead(fmt.Sprintf("what changed in the %s", l), ref, deltaPart[l], err), since[l]
				return
			}
			out.Changed[l], out.Links[l] = changed, link
			if anew {
				out.Anew[l] = true
			}
		})
	}
	all.Wait()
	return out, ctx.Err()
}

// changesOf reads what changed in a list since a link, or begins it anew.
func (g *graph) changesOf(ctx context.Context, l DeltaList, since string) (changed int, anew bool, link string, err error) {
	if since != "" {
		changed, link, err = g.follow(ctx, since)
		if err == nil || !refusedLink(err) {
			return changed, false, link, err
		}
	}
	link, err = g.beginDelta(ctx, l)
	return 0, true, link, err
}

// refusedLink reports whether Graph does not go on from a delta link. The link is too old
// or from elsewhere, or the service moved.
func refusedLink(err error) bool {
	if hasStatus(err, http.StatusBadRequest, http.StatusGone, http.StatusNotFound) {
		return true
	}
	_, elsewhere := errors.AsType[*linkError](err)
	return elsewhere
}

// tally counts the objects of a delta list, each once. A large group comes on several
// pages, so that its members are fresh too, each once.
func tally(n *int) gather[wire.DeltaObject] {
	var isFresh func(string) bool
	return gather[wire.DeltaObject]{
		begin: func() { *n, isFresh = 0, bounds.Fresh[string]() },
		page: func(p []wire.DeltaObject) (fresh int) {
			for i := range p {
				if isFresh(p[i].ID) {
					fresh++
					*n++
				}
				for _, m := range p[i].Members {
					if m.ID != "" && isFresh(p[i].ID+"/"+m.ID) {
						fresh++
					}
				}
			}
			return fresh
		},
	}
}

// follow reads on from a delta link to the next one.
func (g *graph) follow(ctx context.Context, link string) (changed int, next string, err error) {
	next, err = g.led(linkedList(ctx, g, link, tally(&changed)))
	return changed, next, err
}

// led is what came of reading a delta list, which must lead on.
func (g *graph) led(deltaLink string, err error) (string, error) {
	if err == nil && deltaLink == "" {
		err = &bodyError{g.name, errNoDeltaLink}
	}
	return deltaLink, err
}

// beginDelta returns a list's link as of now. A service that does not know
// $deltatoken=latest lists everything first, or refuses it and is asked without.
func (g *graph) beginDelta(ctx context.Context, l DeltaList) (link string, err error) {
	var all int
	latest := g.deltaRequest(ctx, l)
	if latest.err == nil {
		latest.UrlTemplate = strings.Replace(latest.UrlTemplate, "%24select", "%24select,%24deltatoken", 1)
		latest.set("deltatoken", "latest")
	}
	link, err = g.led(list(ctx, g, latest, tally(&all)))
	if hasStatus(err, http.StatusBadRequest, http.StatusNotImplemented) {
		link, err = g.led(list(ctx, g, g.deltaRequest(ctx, l), tally(&all)))
	}
	return link, err
}

// deltaRequest asks for the changes of what NinjaOne shows of a list.
func (g *graph) deltaRequest(ctx context.Context, l DeltaList) request {
	switch l {
	case DeltaUsers:
		return ask(ctx, users.NewUsersRequestBuilderInternal(g.v1(), g.adapter).Delta(), 0, userFields...)
	case DeltaGroups:
		return g.groupsDelta(ctx)
	case DeltaRoles:
		return g.rolesDelta(ctx)
	}
	return ask(ctx, devices.NewDevicesRequestBuilderInternal(g.v1(), g.adapter).Delta(), 0, deviceFields...)
}

// WatchedDevices lists the tenant's managed devices with all that NinjaOne shows of them.
// It leaves out free storage, which moves by itself. It makes one call per thousand
// devices, otherwise as ComplianceStates does.
func (r *Reader) WatchedDevices(ctx context.Context, ref tenant.Ref) ([]tenant.ManagedDevice, error) {
	return r.listForCompliance(ctx, ref, watchedFields)
}
