package m365

import (
	"context"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/directoryroles"
	"github.com/microsoftgraph/msgraph-sdk-go/groups"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/m365/wire"
	"cipp-ninjaone/handler/internal/tenant"
)

var (
	groupFields = []string{"id", "displayName", "mail", "groupTypes", "securityEnabled", "mailEnabled"}
	roleFields  = []string{"id", "displayName", "roleTemplateId", "members"} // of the delta list
)

// groups reads GET /groups/delta with members.
func (g *graph) groups(ctx context.Context) ([]tenant.Group, error) {
	all, err := g.readMemberships(ctx,
		func(ctx context.Context, into gather[wire.DeltaObject]) (string, error) {
			ri, err := groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter).Delta().ToGetRequestInformation(ctx, nil)
			if err != nil {
				return "", err
			}
			return list(ctx, g, query(ri, 0, append(groupFields[:len(groupFields):len(groupFields)], "members")...), into)
		},
		func() (*abstractions.RequestInformation, error) {
			ri, err := groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
			if err != nil {
				return nil, err
			}
			return query(ri, pageSize, groupFields...), nil
		},
		func(id string) (*abstractions.RequestInformation, error) {
			ri, err := groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter).ByGroupId(id).Members().ToGetRequestInformation(ctx, nil)
			if err != nil {
				return nil, err
			}
			return query(ri, pageSize, "id"), nil
		})
	if err != nil {
		return nil, err
	}
	out := []tenant.Group{}
	all.Each(func(o *wire.Membership) {
		out = append(out, tenant.Group{
			ID:              o.ID,
			DisplayName:     o.DisplayName.Value,
			Mail:            o.Mail.Value,
			GroupTypes:      o.GroupTypes,
			SecurityEnabled: o.SecurityEnabled.Value,
			MailEnabled:     o.MailEnabled.Value,
			Members:         o.List(),
		})
	})
	return out, nil
}

// rolesDelta asks for GET /directoryRoles/delta with members, which lists the
// activated roles only.
func (g *graph) rolesDelta(ctx context.Context) (*abstractions.RequestInformation, error) {
	ri, err := directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter).Delta().ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	return query(ri, 0, roleFields...), nil
}

// roles reads the directory roles from the answer to rolesDelta.
func (g *graph) roles(ctx context.Context, a *answer) ([]tenant.DirectoryRole, error) {
	all, err := g.readMemberships(ctx,
		func(ctx context.Context, into gather[wire.DeltaObject]) (string, error) {
			return listOf(ctx, g, a, into)
		},
		func() (*abstractions.RequestInformation, error) {
			ri, err := directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter).ToGetRequestInformation(ctx, nil)
			if err != nil {
				return nil, err
			}
			return query(ri, 0, "id", "displayName", "roleTemplateId"), nil
		},
		func(id string) (*abstractions.RequestInformation, error) {
			ri, err := directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter).
				ByDirectoryRoleId(id).Members().ToGetRequestInformation(ctx, nil)
			if err != nil {
				return nil, err
			}
			return query(ri, 0, "id"), nil
		})
	if err != nil {
		return nil, err
	}
	out := []tenant.DirectoryRole{}
	all.Each(func(o *wire.Membership) {
		template := guid.Fold(o.TemplateID.Value)
		out = append(out, tenant.DirectoryRole{
			ID:          o.ID,
			TemplateID:  template,
			DisplayName: roleName(template, o.DisplayName.Value),
			Members:     o.List(),
		})
	})
	return out, nil
}
