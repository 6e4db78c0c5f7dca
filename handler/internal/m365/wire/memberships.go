package wire

import (
	"strings"

	"cipp-ninjaone/handler/internal/guid"
	"cipp-ninjaone/handler/internal/reply"
	"cipp-ninjaone/handler/internal/tenant"
)

// DeltaObject is a group or directory role in a delta answer. Members that are
// missing on a page are unchanged, not gone, so absent and empty differ.
type DeltaObject struct {
	ID              string                  `json:"id"`
	DisplayName     reply.Optional[string]  `json:"displayName"`
	TemplateID      reply.Optional[string]  `json:"roleTemplateId"`
	Mail            reply.Optional[string]  `json:"mail"`
	GroupTypes      reply.List[string]      `json:"groupTypes"`
	SecurityEnabled reply.Optional[bool]    `json:"securityEnabled"`
	MailEnabled     reply.Optional[bool]    `json:"mailEnabled"`
	Members         reply.List[Member]      `json:"members@delta"`
	Removed         reply.Optional[Removed] `json:"@removed"`
}

// Member is a member of a DeltaObject, or a row of a list of members.
type Member struct {
	ID      string                  `json:"id"`
	Type    string                  `json:"@odata.type"`
	Removed reply.Optional[Removed] `json:"@removed"`
}

// Removed marks what left since the delta list began.
type Removed struct {
	Reason string `json:"reason"`
}

func (m Member) kind() tenant.MemberKind {
	return tenant.MemberKind(strings.TrimPrefix(m.Type, "#microsoft.graph."))
}

// Memberships accumulates groups or roles over the pages of a delta list. Such a
// list splits large ones over several pages, and may repeat itself.
type Memberships struct {
	order []string
	byID  map[string]*Membership
}

// Membership is one group or role with its members so far.
type Membership struct {
	DeltaObject
	order []string
	kinds map[string]tenant.MemberKind
}

// NewMemberships returns none yet.
func NewMemberships() *Memberships { return &Memberships{byID: map[string]*Membership{}} }

// IDs returns the ids of all groups or roles as they came, removed ones too.
func (m *Memberships) IDs() []string { return m.order }

// Of returns the group or role with the id, one of IDs.
func (m *Memberships) Of(id string) *Membership { return m.byID[id] }

// Add adds a page, and returns how many groups, roles and members of it were not
// there before.
func (m *Memberships) Add(p []DeltaObject) (fresh int) {
	for _, o := range p {
		if o.ID != "" {
			before := len(m.order)
			fresh += m.object(o).Change(o.Members) + len(m.order) - before
		}
	}
	return fresh
}

func (m *Memberships) object(o DeltaObject) *Membership {
	id := guid.Fold(o.ID)
	have, ok := m.byID[id]
	if !ok {
		have = &Membership{kinds: map[string]tenant.MemberKind{}}
		have.ID = id
		m.byID[id] = have
		m.order = append(m.order, id)
	}
	keep(&have.DisplayName, o.DisplayName)
	keep(&have.TemplateID, o.TemplateID)
	keep(&have.Mail, o.Mail)
	keep(&have.SecurityEnabled, o.SecurityEnabled)
	keep(&have.MailEnabled, o.MailEnabled)
	if o.GroupTypes != nil {
		have.GroupTypes = o.GroupTypes
	}
	have.Removed = o.Removed
	return have
}

func keep[T any](dst *reply.Optional[T], v reply.Optional[T]) {
	if v.OK {
		*dst = v
	}
}

// Forget forgets the members.
func (m *Membership) Forget() { m.order, m.kinds = nil, map[string]tenant.MemberKind{} }

// Change adds the members and takes away those that were removed. It returns how
// many were not there before.
func (m *Membership) Change(members []Member) (fresh int) {
	for _, member := range members {
		id := guid.Fold(member.ID)
		if id == "" {
			continue
		}
		if member.Removed.OK {
			delete(m.kinds, id)
			continue
		}
		if _, ok := m.kinds[id]; !ok {
			fresh++
			m.order = append(m.order, id)
		}
		m.kinds[id] = member.kind()
	}
	return fresh
}

// List returns the members in the order in which they came. It may be called
// once.
func (m *Membership) List() []tenant.Member {
	var out []tenant.Member
	for _, id := range m.order {
		if kind, ok := m.kinds[id]; ok {
			out = append(out, tenant.Member{ID: id, Kind: kind})
			delete(m.kinds, id) // one that left and came back is in the order twice
		}
	}
	return out
}

// Each gives the groups or roles that were not removed, in order.
func (m *Memberships) Each(give func(*Membership)) {
	for _, id := range m.order {
		if o := m.byID[id]; !o.Removed.OK {
			give(o)
		}
	}
}

func (r *DeltaObject) identity() string { return r.ID }

func (r *Member) identity() string { return r.ID }
