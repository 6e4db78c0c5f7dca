package documents

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"cipp-ninjaone/handler/internal/compose"
	"cipp-ninjaone/handler/internal/ledger"
	"cipp-ninjaone/handler/internal/ninjaone"
)

// A tenant may have many tens of thousands of documents, and a run holds a
// record of each. So what a record notes is packed; see values and links.

// kind is what a document is about.
type kind string

const (
	kindUser    kind = "user"
	kindLicense kind = "license"
)

// key names a document by what it is about: a user or SKU id in lower case.
type key struct {
	kind kind
	id   string
}

// record is what we know of one document. A nil record knows of none.
type record struct {
	key
	document  int      // NinjaOne's id; 0 when there is none as far as is known
	archived  bool     // we archived it, or found it gone from the list
	fields    values   // what NinjaOne holds in its fields, and as its name
	refused   string   // digest of the content that NinjaOne refused, or of a name alone (see refusedName); "" for none
	reason    string   // why
	tried     int64    // when NinjaOne last refused it, in seconds since 1970
	relations links    // of a user's document: to its hosts
	attempt   *attempt // what was tried with it; nil while NinjaOne refused nothing of it
}

// refusedName stands in record.refused for a name that NinjaOne refused, of a
// document that it takes otherwise.
func refusedName(name string) string { return namePrefix + digestOf(name) }

// digestOf is the digest of a name.
func digestOf(name string) string { return ledger.Digest(ninjaone.Text(name)) }

const namePrefix = "name:"

// misnamed reports whether the document has all but its name.
func (r *record) misnamed() bool { return strings.HasPrefix(r.refused, namePrefix) }

// settle forgets what NinjaOne refused, because it takes it now.
func (r *record) settle() { r.refused, r.reason, r.tried = "", "", 0 }

func newRecord(k key) *record { return &record{key: k} }

// live reports whether there is a document that people see.
func (r *record) live() bool { return r != nil && r.document != 0 && !r.archived }

// pending reports whether a document was on its way and its id is not known.
func (r *record) pending() bool { return r != nil && r.document == 0 && len(r.fields) > 0 }

// reset forgets the document, which is gone.
func (r *record) reset() { *r = record{key: r.key, attempt: r.attempt} }

// doubt marks every value as unknown, so that it is sent again.
func (r *record) doubt() {
	for i := range r.fields {
		r.fields[i].mark = ledger.Unknown[0]
	}
}

// nameField stands for the document's name among its fields.
const nameField = "documentName"

// fieldNames are the fields that a record can note.
var fieldNames = [...]string{
	nameField, compose.FieldTenantID,
	compose.FieldUserLinks, compose.FieldUserSummary, compose.FieldUserDevices, compose.FieldUserGroups,
	compose.FieldUserID, compose.FieldUserUPN,
	compose.FieldLicenseSummary, compose.FieldLicenseUsers, compose.FieldLicenseID,
}

// values notes, by field, the digest of the value that NinjaOne holds, or one of
// the marks of package ledger.
type values []value

type value struct {
	field  uint8                   // index in fieldNames
	mark   byte                    // 0 when there is a digest
	digest [ledger.DigestSize]byte // as ledger.Digest writes it in hexadecimal
}

// set notes a field's digest or mark. What is neither is noted as unknown.
func (vs *values) set(field, digest string) {
	i := slices.Index(fieldNames[:], field)
	if i < 0 {
		return // of a field that no document of ours has; it never differs
	}
	v := value{field: uint8(i)}
	if n, err := hex.Decode(v.digest[:], []byte(digest[:min(len(digest), 2*ledger.DigestSize)])); err != nil || n != len(v.digest) || len(digest) != 2*n {
		v.digest, v.mark = [ledger.DigestSize]byte{}, ledger.Unknown[0]
		if digest == ledger.Cleared {
			v.mark = ledger.Cleared[0]
		}
	}
	for j := range *vs {
		if (*vs)[j].field == v.field {
			(*vs)[j] = v
			return
		}
	}
	if *vs == nil {
		*vs = make(values, 0, 8)
	}
	*vs = append(*vs, v)
}

// get returns a field's digest or mark; "" when nothing is noted.
func (vs values) get(field string) string {
	for _, v := range vs {
		if fieldNames[v.field] == field {
			return v.text()
		}
	}
	return ""
}

func (v value) text() string {
	if v.mark != 0 {
		return string(rune(v.mark))
	}
	return hex.EncodeToString(v.digest[:])
}

// all returns the digests and marks by field.
func (vs values) all() map[string]string {
	all := make(map[string]string, len(vs))
	for _, v := range vs {
		all[fieldNames[v.field]] = v.text()
	}
	return all
}

// Marks that stand where the id of a relation would.
const (
	relationSending = 0  // on its way; whether NinjaOne has it is unknown
	relationForeign = -1 // somebody else's relation connects the two
)

// links are the relations of a user's document to devices and licences'
// documents, in order of these hosts. Each has the id of the relation, one of
// the marks, or, less than relationForeign, the id of a relation of which it is
// not known yet who made it, with a minus sign.
type links []link

type link struct{ host, id int64 } // see hostOf

// hostOf packs a host into a number: twice its id, and one more for a document.
func hostOf(e ninjaone.Entity) int64 {
	host := int64(e.ID) << 1
	if e.Type == ninjaone.EntityDocument {
		host++
	}
	return host
}

func (l link) entity() ninjaone.Entity {
	if l.host&1 == 1 {
		return document(int(l.host >> 1))
	}
	return device(int(l.host >> 1))
}

func (ls links) find(host ninjaone.Entity) (int, bool) {
	return slices.BinarySearchFunc(ls, hostOf(host), func(l link, h int64) int { return cmp.Compare(l.host, h) })
}

// get returns the id or mark of the relation to the host, and whether any is
// noted.
func (ls links) get(host ninjaone.Entity) (id int, has bool) {
	i, has := ls.find(host)
	if !has {
		return 0, false
	}
	return int(ls[i].id), true
}

// set notes the id or mark of the relation to the host.
func (ls *links) set(host ninjaone.Entity, id int) {
	i, has := ls.find(host)
	if !has {
		*ls = slices.Insert(*ls, i, link{host: hostOf(host)})
	}
	(*ls)[i].id = int64(id)
}

// remove forgets the relation to the host.
func (ls *links) remove(host ninjaone.Entity) {
	if i, has := ls.find(host); has {
		*ls = slices.Delete(*ls, i, i+1)
	}
}

// String is the form of a link in a row.
func (l link) String() string {
	prefix := "d"
	if l.host&1 == 1 {
		prefix = "l"
	}
	return prefix + strconv.FormatInt(l.host>>1, 10) + "=" + strconv.FormatInt(l.id, 10)
}

// linkOf reads what String wrote.
func linkOf(text string) (link, bool) {
	host, id, _ := strings.Cut(text, "=")
	if host == "" {
		return link{}, false
	}
	n, err := strconv.ParseInt(host[1:], 10, 64)
	var l link
	switch {
	case err != nil || n <= 0:
		return link{}, false
	case host[0] == 'd':
		l.host = n << 1
	case host[0] == 'l':
		l.host = n<<1 | 1
	default:
		return link{}, false
	}
	l.id, _ = strconv.ParseInt(id, 10, 64)
	return l, true
}
