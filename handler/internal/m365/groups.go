package m365

import (
	"context"

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
			return list(ctx, g, g.groupsDelta(ctx), into)
		},
		ask(ctx, groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter), pageSize, groupFields...),
		func(id string) request {
			return ask(ctx, groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter).ByGroupId(id).Members(), pageSize, "id")
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

// groupsDelta asks for GET /groups/delta with members.
func (g *graph) groupsDelta(ctx context.Context) request {
	return ask(ctx, groups.NewGroupsRequestBuilderInternal(g.v1(), g.adapter).Delta(), 0, append(groupFields[:len(groupFields):len(groupFields)], "members")...)
}

// rolesDelta asks for GET /directoryRoles/delta with members, which lists the
// activated roles only.
func (g *graph) rolesDelta(ctx context.Context) request {
	return ask(ctx, directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter).Delta(), 0, roleFields...)
}

// roles reads the directory roles from the answer to their delta list.
func (g *graph) roles(ctx context.Context, a *answer) ([]tenant.DirectoryRole, error) {
	all, err := g.readMemberships(ctx,
		func(ctx context.Context, into gather[wire.DeltaObject]) (string, error) {
			return listOf(ctx, g, a, into)
		},
		ask(ctx, directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter), 0, "id", "displayName", "roleTemplateId"),
		func(id string) request {
			return ask(ctx, directoryroles.NewDirectoryRolesRequestBuilderInternal(g.v1(), g.adapter).ByDirectoryRoleId(id).Members(), 0, "id")
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
