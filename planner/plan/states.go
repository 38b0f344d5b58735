package plan

import (
	"math"

	"headroom/planner/model"
)

// The resources of a plan, in its order.
const (
	IndexMemory = iota
	Memory
	DeviceBytes
	DeviceIOPS
	DeviceBandwidth
	CPU
	Network
	Migration
	Endurance
	Redundant // every partition has a copy left
	Durability
	Availability
	Cost
	ReadLatency
	WriteLatency
	numResources
)

var resourceNames = [numResources]string{"index_memory", "memory", "device_bytes", "device_iops", "device_bandwidth", "cpu", "network",
	"migration_bandwidth", "endurance", "redundancy", "durability", "availability", "budget", "read_p99", "write_p99"}

// loads is the utilisation of every resource in every state: 1 is the limit.
// A resource that a state does not have is 0.
type loads struct {
	use     [numStates][numResources]float64
	mark    float64            // low-water mark of the devices
	rebuild [numStates]float64 // seconds until redundancy is complete
	mttdl   float64            // seconds
	down    float64            // seconds per year that a partition is unavailable
	stored  float64            // bytes at the fullest node, healthy: index and data
	hold    float64            // the same in the worst state
}

// worst returns the state and resource of the greatest utilisation.
func (l *loads) worst() (state, resource int, use float64) {
	for s := range l.use {
		for r, v := range l.use[s] {
			if v > use {
				state, resource, use = s, r, v
			}
		}
	}
	return state, resource, use
}

// tolerance forgives rounding, not load.
const tolerance = 1e-9

func (l *loads) feasible() bool {
	for s := range l.use {
		for _, v := range l.use[s] {
			if v > 1+tolerance {
				return false
			}
		}
	}
	return true
}

// judge computes the loads of a shape: what every state asks of the node that
// has most to do in it. losses multiplies the chance of losing data: 1 but for
// fluid shapes, see missFactor.
func judge(s *Shape, losses float64, d *demand, k *machine, l *loads) {
	*l = loads{}
	bytesMost := 0.0
	for i := range s.States {
		if s.States[i].Used {
			bytesMost = max(bytesMost, s.States[i].Stored*d.flash)
		}
	}
	l.mark = deviceMark(d, k, bytesMost)
	for i := range s.States {
		if s.States[i].Used {
			judgeState(s, i, d, k, l)
		}
	}
	h := s.States[Healthy]
	l.stored = h.Stored * (d.index + d.memory + d.flash)
	if k.device > 0 {
		rated := d.limits.dwpd
		if !math.IsNaN(k.dwpd) {
			rated = k.dwpd
		}
		l.use[Healthy][Endurance] = h.Writes * d.flashAverage * model.WriteAmplification(l.mark) * 86400 / (k.device * rated)
	}
	if d.budget > 0 {
		l.use[Healthy][Cost] = float64(s.Nodes) * k.dollars * d.sites / d.budget
	}
	judgeYears(s, losses, d, k, l)
}

// deviceMark chooses the low-water mark: the smallest with which the devices
// keep up in the fullest state.
func deviceMark(d *demand, k *machine, bytes float64) float64 {
	if d.flash == 0 || k.device == 0 {
		return model.MarkLeast
	}
	mark, _ := model.LowWaterMark(bytes / k.device)
	return mark
}

func judgeState(s *Shape, state int, d *demand, k *machine, l *loads) {
	sp, use := &s.States[state], &l.use[state]
	room := max(k.ram-d.limits.reserve, 0) * d.limits.memory
	index := sp.Stored*d.index + k.empty
	use[IndexMemory] = over(index, room)
	if d.memory > 0 {
		use[Memory] = over(index+sp.Stored*d.memory, room)
	}
	l.hold = max(l.hold, sp.Stored*(d.index+d.memory+d.flash))
	if sp.Unavailable > 0 {
		use[Redundant] = 1 + float64(sp.Unavailable)
	}

	// The hottest record lies on one node, whatever their number.
	serve := sp.Masters*(1-d.hottest) + d.hottest
	take := sp.Writes*(1-d.hottest) + d.hottest
	if d.hottest == 0 {
		serve, take = sp.Masters, sp.Writes
	}
	replica := max(take-serve, 0)
	copies := float64(min(s.Copies, sp.Alive) - 1)
	cpu := d.reads*serve*k.readCPU + d.writes*(serve*k.writeCPU+replica*k.replicaCPU) +
		(d.readBytes*serve+d.writeBytes*take)*k.perByteCPU
	out := serve*(d.readBytes+(d.reads+d.writes)*k.requestBytes) + serve*copies*(d.writeBytes+d.writes*k.requestBytes)
	out += serve * d.ships * (d.writeBytes + d.writes*k.requestBytes)
	in := serve*(d.reads+d.writes)*k.requestBytes + take*(d.writeBytes+d.writes*k.requestBytes)
	cores := k.vcpu * d.limits.cpu * k.scale.Efficiency(float64(sp.Alive))
	pipe := k.network * d.limits.network

	left := spare{cpu: cores - cpu, network: pipe - max(in, out), device: math.Inf(1)}
	quiet, perByte := deviceUse(serve, take, d, k, l.mark)
	for i := range quiet {
		if perByte[i] > 0 {
			left.device = min(left.device, (1-quiet[i])/perByte[i])
		}
	}
	rate := migrate(sp, d, k, left, &l.rebuild[state], &use[Migration])
	cpu += rate * perMigratedByte(d, k)
	use[CPU] = over(cpu, cores)
	use[Network] = over(max(in, out)+rate, pipe)
	if d.flash > 0 {
		use[DeviceBytes] = deviceFill(sp, d, k)
		use[DeviceIOPS], use[DeviceBandwidth] = quiet[0]+rate*perByte[0], quiet[1]+rate*perByte[1]
	}
}

// spare is what the foreground leaves for migration: cores, bytes per second of
// network, and bytes per second that the devices can take in and give out.
type spare struct{ cpu, network, device float64 }

// perMigratedByte is the CPU time of a migrated byte.
func perMigratedByte(d *demand, k *machine) float64 {
	if d.body <= 0 {
		return 0
	}
	return k.migrateCPU*d.records/d.body + k.perByteCPU
}

// leastMigration is the share of its rate that migration gets however busy
// the foreground is: the node's throttle never closes.
const leastMigration = 0.02

// migrate returns the bytes per second that the busiest node must move to
// meet the target for the rebuild, 0 without one: then migration takes what
// the foreground leaves. It notes how long the rebuild takes with all that is
// left. A node's own pace is that of sending: it reads what it sends record by
// record and receives in large blocks. CPU, network and devices bound what
// either end moves; the node that receives most is not the one that sends most.
func migrate(sp *Spread, d *demand, k *machine, left spare, rebuild, use *float64) float64 {
	bytes, sends := max(sp.Fill, sp.Send)*d.body, sp.Send*d.body
	if sends <= 0 {
		return 0
	}
	can := min(k.migrateBytes, k.migrateHz*d.body/d.records)
	free := min(left.network, left.device)
	if per := perMigratedByte(d, k); per > 0 {
		free = min(free, left.cpu/per)
	}
	*rebuild = max(sends/can, bytes/max(free, can*leastMigration)) + k.failover
	target := d.targets.Targets.Rebuild
	if target <= 0 {
		return 0
	}
	time := max(target-k.failover, 1e-3)
	*use = sends / time / can
	return bytes / max(time, sends/can)
}

// deviceFill is the use of a device's bytes.
func deviceFill(sp *Spread, d *demand, k *machine) float64 {
	limit := d.limits.device
	if limit == 0 {
		limit = model.FillReserve * model.MaxFill(model.MarkMost)
	}
	return over(sp.Stored*d.flash, k.device*limit)
}

// deviceUse is the use of a node's devices, requests and bandwidth against
// their limits: by the foreground, and by each byte a second that is migrated.
// A record is one read of the pages that it touches; what is written goes in
// large blocks, and blocks that are defragmented are read whole, one for each
// that is written.
func deviceUse(serve, take float64, d *demand, k *machine, mark float64) (quiet, perByte [2]float64) {
	if d.flash == 0 || k.device == 0 {
		return quiet, perByte // without a device its bytes are over their limit
	}
	of := func(reads, pages, bytes, syncs float64) [2]float64 {
		written := bytes * model.WriteAmplification(mark)
		return [2]float64{
			((reads+written/ioUnit)/k.rIOPS + (written/ioUnit+syncs)/k.wIOPS) / d.limits.iops,
			((pages*ioUnit+written)/k.readBytes + (written+syncs*ioUnit)/k.writeBytes) / d.limits.bandwidth,
		}
	}
	quiet = of(serve*d.flashReads, serve*d.flashTouched, take*d.flashBytes, take*d.syncWrites)
	if d.body > 0 {
		perByte = of(d.flashRecords/d.body, d.flashPages/d.body, d.flash/d.body, 0)
	}
	return quiet, perByte
}

// over is use against room, +Inf where there is none.
func over(use, room float64) float64 {
	if use <= 0 {
		return 0
	}
	if room <= 0 {
		return math.Inf(1)
	}
	return use / room
}

// judgeYears computes durability and availability: what a year brings.
func judgeYears(s *Shape, losses float64, d *demand, k *machine, l *loads) {
	repair := max(l.rebuild[RollingRestart], k.failover) // of one node
	c := model.Cluster{Nodes: s.Nodes, Copies: s.Copies, MTTF: d.mttf, MTTR: repair, Survives: s.Survives()}
	l.mttdl = c.MTTDL()
	if d.rackMTTF > 0 && s.Racks > 1 && s.Copies > s.Racks {
		// More copies than racks put two into one; fewer than two racks lose all.
		l.mttdl = 1 / (1/l.mttdl + rackLoss(s)*float64(s.Racks)/d.rackMTTF)
	}
	l.use[Healthy][Durability] = nines(l.mttdl, d.targets.Targets.Durability) * losses
	// Each loss of a node stops its masters for the failover; a partition of
	// which all copies are down waits for the first node that returns.
	failures := float64(s.Nodes) * secondsPerYear / d.mttf
	l.down = failures / float64(s.Nodes) * k.failover
	away := d.downtime / (d.downtime + d.mttf)
	if d.targets.Redundancy.Strong {
		l.down += secondsPerYear * strongUnavailable(s.Nodes, s.Copies, away)
	} else {
		l.down += secondsPerYear * math.Pow(away, float64(s.Copies))
	}
	if t := d.targets.Targets.Unavailable; t > 0 {
		l.use[Healthy][Availability] = l.down / t
	}
}

// A durability target is first held against random placement, before tables
// are computed. Real placement differs from it by a factor that hardly changes
// from one number of nodes to the next: racks leave out up to nine of ten sets
// of nodes. So the chance of loss of a fluid shape is multiplied by firstMiss
// or, once a real table was judged, by missSlack of that table's factor: small
// enough that no real placement is better.
const (
	firstMiss = 0.1
	missSlack = 0.7
)

// missFactor is the chance of loss of a real shape, judged into l, against
// that of the fluid one, as the factor for the next number of nodes.
func missFactor(low *Shape, d *demand, k *machine, l *loads) float64 {
	if d.targets.Targets.Durability <= 0 {
		return firstMiss
	}
	var random loads
	judge(low, 1, d, k, &random)
	real, fluid := l.use[Healthy][Durability], random.use[Healthy][Durability]
	if real > 0 && fluid > 0 {
		return real / fluid * missSlack
	}
	return firstMiss
}

// rackLoss is 1 if the loss of a rack loses a partition, else 0.
func rackLoss(s *Shape) float64 {
	if s.States[RackLost].Unavailable > 0 || s.Racks == 1 {
		return 1
	}
	return 0
}

// nines is the utilisation of a durability target: the chance of a loss in a
// year against the chance allowed.
func nines(mttdl, target float64) float64 {
	if target <= 0 {
		return 0
	}
	return -math.Expm1(-secondsPerYear/mttdl) / math.Pow(10, -target)
}

// strongUnavailable is the probability that a partition is unavailable under
// strong consistency, when each node is down with probability p: not with all
// of its replicas up; not with a majority of the nodes and one replica up.
func strongUnavailable(n, copies int, p float64) float64 {
	sum := 0.0
	for f := copies; f < n; f++ { // with fewer missing all is available
		down := math.Exp(logChoose(n, f) + float64(f)*math.Log(max(p, 1e-300)) + float64(n-f)*math.Log1p(-p))
		if 2*(n-f) > n {
			// A majority is up: gone only if all replicas are down.
			sum += down * model.Choose(f, copies) / model.Choose(n, copies)
			continue
		}
		// No majority (with exactly half the roster's master decides: counted
		// as half of those that have a replica): all replicas must be up.
		up := model.Choose(n-f, copies) / model.Choose(n, copies)
		if 2*f == n {
			up = max(up, 0.5)
		}
		sum += down * (1 - up)
	}
	return min(sum, 1)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
