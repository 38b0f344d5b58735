package migrate

import (
	"cmp"
	"slices"
	"time"

	"headroom/node/cluster"
	"headroom/node/partition"
	"headroom/node/planted"
	"headroom/node/wire"
)

// stage is how far a job is. A stage without targets is skipped.
type stage uint8

const (
	absorbing stage = iota + 1 // take what each duplicate has and we lack
	filling                    // make each replica Full
	telling                    // Absorbed to duplicates and represented outside the replicas, and to those in sync
	draining                   // wait for txn to end the writes in flight: master or write set change next
	handing                    // Handoff to the final master
	mastering                  // as the new master: Mastered to all members
	keeping                    // as the final master: wait until all replicas have kept that they are Full
	dropping                   // as the final master: AllDone to holders outside the replicas
	over
)

// job is one partition that this node drives, as hub from absorbing on or as
// the new master from mastering on.
type job struct {
	pid     uint16
	part    *partition.Part
	order   int // rank among the jobs of this View; comparisons first
	stage   stage
	targets []uint16 // of the stage
	at      int      // absorbing, filling: the target under way
	leg     leg      // and its state
	// suspects are members in sync with the hub that are absorbed, too, and first.
	suspects []uint16

	seq    uint32
	asking *wire.Migrate // the question under way, nil for none
	await  []uint16      // who has not answered it
	timer  cluster.Instant
	wait   time.Duration

	size int64 // bytes of one whole copy, as of the commit
	left int64 // bytes still to move, estimated
}

// newJob returns the job that the Plan gives this node as hub of pid, or nil.
func (c *Core) newJob(pid int) *job {
	part := &c.plan.Parts[pid]
	if !part.Available || part.Fresh || part.Master != c.self {
		return nil
	}
	j := &job{pid: uint16(pid), part: part, timer: cluster.Never, suspects: c.suspects(pid)}
	c.skip(j)
	if j.stage == over {
		return nil
	}
	size := c.store.Partition(pid)
	j.size = size.Bytes + int64(size.Records)*recordOverhead
	c.start(j)
	c.setLeft(j, j.size*int64(len(part.Duplicates)+len(c.fills(j))))
	return j
}

// start makes j known; it does not run yet.
func (c *Core) start(j *job) {
	c.jobs[j.pid] = j
	c.progress.Partitions++
}

// skip moves j to its next stage that has targets.
func (c *Core) skip(j *job) {
	j.at, j.targets = 0, nil
	for j.stage++; j.stage < over; j.stage++ {
		if j.targets = c.targets(j); len(j.targets) > 0 {
			return
		}
	}
}

// fills are the members to be filled: replicas that are not Full, and after
// absorbing the whole write set, because even those in sync lack what was
// absorbed. These come first and duplicates last: were a duplicate Full before them, a View change now would
// leave copies that count as equal and are not.
func (c *Core) fills(j *job) []uint16 {
	part := j.part
	if !j.settles() || planted.Is(planted.AbsorbedNotFilled) {
		return part.Fill
	}
	all := slices.DeleteFunc(slices.Clone(part.WriteSet), func(m uint16) bool { return m == c.self })
	slices.SortStableFunc(all, func(a, b uint16) int { return cmp.Compare(fillRank(part, a), fillRank(part, b)) })
	return all
}

func fillRank(part *partition.Part, m uint16) int {
	switch {
	case !slices.Contains(part.Fill, m):
		return 0
	case slices.Contains(part.Duplicates, m) || slices.Contains(part.Represented, m):
		return 2
	}
	return 1
}

func (c *Core) targets(j *job) []uint16 {
	part := j.part
	hub := part.Master == c.self
	switch {
	case j.stage == absorbing && hub:
		return slices.Concat(j.suspects, part.Duplicates)
	case j.stage == filling && hub:
		return c.fills(j)
	case j.stage == telling && hub:
		return c.tells(j)
	case j.stage == draining && hub && (part.Final != c.self || len(part.WriteSet) > len(part.Replicas)):
		return []uint16{part.Final}
	case j.stage == handing && hub && part.Final != c.self:
		return []uint16{part.Final}
	case j.stage == mastering && !hub:
		return c.others()
	case j.stage == keeping && part.Final == c.self && len(drops(part)) > 0 && !planted.Is(planted.DroppedBeforeKept):
		return part.Replicas
	case j.stage == dropping && part.Final == c.self:
		return drops(part)
	}
	return nil
}

// tells are the members that learn that a merge is over.
func (c *Core) tells(j *job) []uint16 {
	list := slices.DeleteFunc(slices.Concat(j.part.Duplicates, j.part.Represented),
		func(m uint16) bool { return slices.Contains(j.part.Replicas, m) })
	if j.settles() {
		list = append(list, inSync(j.part)...)
	}
	return list
}

// drops are the holders outside the replicas.
func drops(part *partition.Part) []uint16 {
	if slices.Contains(part.Replicas, part.Master) {
		return part.Spares
	}
	return append(slices.Clone(part.Spares), part.Master)
}

// others are all members but this node.
func (c *Core) others() []uint16 {
	var all []uint16
	for i := range c.view.Members {
		if uint16(i) != c.self {
			all = append(all, uint16(i))
		}
	}
	return all
}

// next ends the stage of j and begins the one after.
func (c *Core) next(j *job) {
	if j.stage == absorbing {
		c.out.Resolved = append(c.out.Resolved, j.pid)
	}
	c.skip(j)
	if j.stage > filling {
		c.unsure[j.pid] = false
	}
	if j.stage == filling && j.compares() && j.order < c.ranks {
		c.requeue(j)
		return
	}
	c.begin(j)
	c.busy = true
}

// begin starts the stage that j is in.
func (c *Core) begin(j *job) {
	j.asking, j.timer = nil, cluster.Never
	switch j.stage {
	case absorbing, filling:
		c.beginLeg(j)
	case telling:
		c.ask(j, j.targets, &wire.Migrate{Step: wire.StepAbsorbed})
	case draining:
		if planted.Is(planted.DrainSkipped) {
			c.next(j)
			return
		}
		c.out.Drain = append(c.out.Drain, j.pid)
	case handing:
		c.ask(j, j.targets, &wire.Migrate{Step: wire.StepHandoff})
	case mastering:
		c.ending = append(c.ending, j)
		c.ask(j, j.targets, &wire.Migrate{Step: wire.StepMastered})
	case keeping:
		c.retire(j)
		c.askKeep(j)
	case dropping:
		c.retire(j)
		c.ask(j, j.targets, &wire.Migrate{Step: wire.StepAllDone})
	case over:
		c.finish(j)
	}
}

func (c *Core) finish(j *job) {
	c.deactivate(j)
	if i := slices.Index(c.ending, j); i >= 0 {
		last := len(c.ending) - 1
		c.ending[i] = c.ending[last]
		c.ending = c.ending[:last]
	}
	c.jobs[j.pid] = nil
	c.setLeft(j, 0)
	c.progress.Partitions--
}

// Drained tells that no write of the partition is in flight any more and new
// ones wait: the answer to Effects.Drain.
func (c *Core) Drained(now cluster.Instant, pid int) {
	c.now = max(c.now, now)
	j := c.jobs[pid]
	if j == nil || j.stage != draining || c.frozen {
		return
	}
	if j.part.Final == c.self { // no handoff: only the write set shrinks
		c.out.Master = append(c.out.Master, Mastership{j.pid, c.cfg.Self})
	}
	c.next(j)
}

// ask puts a question to members and repeats it until all have answered.
func (c *Core) ask(j *job, to []uint16, m *wire.Migrate) {
	if m.Step != wire.StepFilled {
		j.seq++
		m.Seq = j.seq
	}
	j.asking, j.await = m, slices.Clone(to)
	for _, i := range to {
		c.post(j, i, m)
	}
	c.arm(j)
}

// arm starts the repeat timer of j anew.
func (c *Core) arm(j *job) {
	j.wait = repeatFirst
	j.timer = c.now.Add(j.wait)
	c.wake = min(c.wake, j.timer)
}

// repeats asks again what has not been answered in time.
func (c *Core) repeats() {
	c.wake = cluster.Never
	n := 0
	for _, list := range [2][]*job{c.active, c.ending} {
		for _, j := range list {
			if j.timer <= c.now && n < repeatsPerRun {
				c.repeat(j)
				n++
			}
			c.wake = min(c.wake, j.timer)
		}
	}
}

func (c *Core) repeat(j *job) {
	c.progress.Repeats++
	if j.leg.blocked {
		j.leg.blocked, c.busy = false, true
		if j.asking == nil && len(j.leg.unacked) == 0 {
			j.timer = cluster.Never
			return
		}
	}
	for i := range j.leg.unacked {
		u := &j.leg.unacked[i]
		c.limit.take(u.bytes, len(u.m.Records))
		c.send(j.leg.to, j.pid, u.m)
	}
	if j.asking != nil {
		for _, i := range j.await {
			c.post(j, i, j.asking)
		}
	}
	j.wait = min(2*j.wait, repeatMost)
	j.timer = c.now.Add(j.wait + time.Duration(c.cfg.Rand.Int64N(int64(j.wait/8))))
}

// answered takes an answer to the question under way; others are late repeats
// and say nothing new.
func (c *Core) answered(from uint16, m *wire.Migrate) {
	j := c.jobs[m.Partition]
	if j == nil {
		return
	}
	if m.Step == wire.StepApplied {
		c.applied(j, from, m.Seq)
		return
	}
	i := slices.Index(j.await, from)
	if i < 0 || j.asking == nil || m.Seq != j.asking.Seq || !c.take(j, m) {
		return
	}
	j.await = slices.Delete(j.await, i, i+1)
	c.busy = true
	if len(j.await) > 0 {
		return
	}
	j.asking, j.timer = nil, cluster.Never
	switch m.Answers {
	case wire.StepFilled:
		c.endLeg(j)
	case wire.StepHandoff:
		c.setMaster(j.pid, j.part.Final)
		c.next(j)
	case wire.StepAbsorbed, wire.StepMastered, wire.StepKeep, wire.StepAllDone:
		c.next(j)
	}
}

// take uses what an answer carries; false means that it is no answer to the
// question, or could not be stored, and the question stands.
func (c *Core) take(j *job, m *wire.Migrate) bool {
	q := j.asking.Step
	switch m.Step {
	case wire.StepSummary:
		return q == wire.StepSummaryAsk && c.compareSums(j, m)
	case wire.StepList:
		return q == wire.StepListAsk && c.compareList(j, m)
	case wire.StepRecords:
		return q == wire.StepFetch && c.fetched(j, m)
	case wire.StepDone:
		return q == m.Answers
	}
	return false
}

// setMaster records and reports a change of the working master.
func (c *Core) setMaster(pid, member uint16) {
	if c.master[pid] != member {
		c.master[pid] = member
		c.out.Master = append(c.out.Master, Mastership{pid, c.view.Members[member].Node})
	}
}
