package partition

import "slices"

// Policy is how a namespace is run in a View. Members may be configured
// differently by mistake, or while a change is rolled out; whatever decides
// about placement must be the same for all, so it is taken from the reports.
type Policy struct {
	RF     int  // replication factor; 0 if no member has the namespace
	Revive bool // give up data of which no full copy is left
}

// PolicyOf takes the settings of the first member in succession order that has
// the namespace, and the wish to revive of any. A nil report has none.
func PolicyOf(members []*MemberReport, name string) (p Policy) {
	for _, m := range members {
		n := m.Namespace(name)
		if n == nil {
			continue
		}
		if p.RF == 0 {
			p.RF, p.Revive = n.RF, n.Fresh
		}
		p.Revive = p.Revive || n.Revive
	}
	return p
}

// Namespace returns the part of the report about a namespace, or nil.
func (r *MemberReport) Namespace(name string) *NamespaceReport {
	if r == nil {
		return nil
	}
	i := slices.IndexFunc(r.Namespaces, func(n NamespaceReport) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Namespaces[i]
}
