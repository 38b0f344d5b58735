package verify

import (
	"math"

	"headroom/planner/model"
)

// pace is how fast the miniature migrates. Left alone, nodes migrate as fast as
// this machine lets them, which the plan knows nothing of; so each is given a
// migrate-rate, the plan's divided like its other rates.
type pace struct {
	rate     float64 // bytes per second that a node sends, 0: nothing is set
	real     float64 // seconds that the plan's migration takes
	slower   float64 // how many times longer it takes here
	failover float64 // seconds before it begins
}

const (
	// leastRebuild, seconds: in less, what a partition costs beside its records
	// shows (some milliseconds each, 32 at a time).
	leastRebuild = 6.0
	// judgedRebuild is the same where the verdict hangs on it: a fifth of a
	// second is then little.
	judgedRebuild = 15.0
	// quietShare of a node's operations is next to none.
	quietShare = 0.01
)

// setPace makes the rebuild of the plan take as long as its bytes are fewer and
// its devices slower, but no less than can be measured. On a device it is as
// much slower as the plan judges that state: at the least pace that the target
// allows, or without one at next to none.
func (m *miniature) setPace(l load) {
	m.pace = pace{slower: 1 / m.card.Bytes, failover: model.Priors().Failover.P50}
	if v := m.best.RebuildSec; v != nil && m.fail > 0 {
		m.pace.real = max(*v-m.pace.failover, 0)
	}
	sp := m.spread(m.best.Nodes, m.rebuilding())
	sends := sp.Send * float64(m.card.Records)
	if m.pace.real == 0 || sends == 0 {
		return
	}
	switch target := m.cfg.Plan.Requirements.Targets.Rebuild; {
	case m.device != nil && target > 0 && m.kind == devices:
		m.pace.real = target
		m.pace.slower *= m.device.dilation
	case m.device != nil:
		m.pace.slower = sends / (quietShare * m.card.OpsPerSec * sp.Masters) / m.pace.real
	case m.kind == migration:
		m.pace.slower = max(m.pace.slower, judgedRebuild/m.pace.real)
	default:
		m.pace.slower = max(m.pace.slower, leastRebuild/m.pace.real)
	}
	if m.kind == migration {
		m.pace.real *= m.hard
	}
	m.pace.rate = math.Ceil(sends * (l.body + model.MigratedBytes) / (m.pace.real * m.pace.slower))
}

// rebuilding is the state in which lost copies are made again.
func (m *miniature) rebuilding() string {
	if m.leave {
		return "rolling_restart"
	}
	return "nodes_lost_migrating"
}

// rebuild is how long the miniature of n nodes needs for full redundancy, 0 if
// nothing is moved: until the node that sends most has sent all.
func (m *miniature) rebuild(n int) float64 {
	if m.pace.rate == 0 {
		return 0
	}
	enough, sp := m.spread(m.best.Nodes, m.rebuilding()), m.spread(n, m.rebuilding())
	return m.pace.failover + m.pace.real*m.pace.slower*sp.Send/enough.Send
}

// rebuildWithin is the target for the rebuild in the time of the miniature, 0
// for none.
func (m *miniature) rebuildWithin() float64 {
	target := m.cfg.Plan.Requirements.Targets.Rebuild
	if target <= 0 || m.pace.rate == 0 {
		return target
	}
	return m.pace.failover + max(target-m.pace.failover, 0)*m.pace.slower
}
