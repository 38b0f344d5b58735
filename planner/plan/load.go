package plan

import (
	"math"

	"headroom/planner/catalog"
	"headroom/planner/model"
)

// demand is what the whole cluster must hold and do, for one resolution of
// the uncertain inputs. Data is of one copy, in bytes; rates are at the peak.
type demand struct {
	records    float64 // live ones and tombstones
	index      float64 // bytes of the primary index
	memory     float64 // bytes of bodies in memory
	flash      float64 // bytes on devices
	body       float64 // bytes of bodies, as they are sent
	reads      float64 // per second
	writes     float64 // per second, each copied to the replicas
	readBytes  float64 // per second
	writeBytes float64
	hottest    float64 // share of all operations on one record

	flashRecords float64 // of one copy, on devices
	flashPages   float64 // that reading all of them once would touch
	flashReads   float64 // device reads per second
	flashTouched float64 // pages that these touch, per second
	flashBytes   float64 // bytes per second of records written to a device
	flashAverage float64 // the same without the peak: what wears
	syncWrites   float64 // flushes per second
	limits       limits
	targets      *Requirements
	mttf         float64
	rackMTTF     float64
	downtime     float64
	budget       float64
	ships        float64 // other clusters that each write is sent to
	sites        float64 // that the budget is for
}

type limits struct {
	memory, reserve, device, iops, bandwidth, cpu, network, dwpd float64
}

// ioUnit is the I/O of a device as catalogs count them.
const ioUnit = model.PageBytes

// tombstoneSeconds is how long the node keeps what was deleted.
const tombstoneSeconds = 24 * 3600

// resolve computes the demand of the requirements for one choice of the
// uncertain numbers. Growth is that of months.
func (r *Requirements) resolve(at pick, months float64) demand {
	d := demand{targets: r, mttf: at(&r.Redundancy.NodeMTTF), rackMTTF: at(&r.Redundancy.RackMTTF), downtime: at(&r.Redundancy.Downtime), budget: at(&r.Budget)}
	d.ships, d.sites = float64(r.XDR.Targets), float64(r.Redundancy.Sites)
	l := &r.Limits
	d.limits = limits{at(&l.Memory), at(&l.MemoryReserve), at(&l.Device), at(&l.IOPS), at(&l.Bandwidth), at(&l.CPU), at(&l.Network), at(&l.DWPD)}
	hot, total := 0.0, 0.0
	for i := range r.Namespaces {
		ops, top := d.add(&r.Namespaces[i], at, months)
		hot, total = max(hot, top*ops), total+ops
	}
	if total > 0 {
		d.hottest = hot / total
	}
	return d
}

// add adds a namespace and returns its operations per second and the share of
// its most popular record.
func (d *demand) add(n *Namespace, at pick, months float64) (ops, top float64) {
	growth := math.Pow(1+at(&n.Growth), months)
	peak := at(&n.PeakFactor) * growth
	inserts := at(&n.InsertRate)
	records := at(&n.Records)
	if inserts > 0 {
		records = inserts * at(&n.TTL)
	}
	records *= growth
	deletes := at(&n.Deletes)
	tombs := deletes * growth * tombstoneSeconds
	reads := at(&n.Reads) + at(&n.Updates)
	puts := at(&n.Writes) + inserts + at(&n.Updates)

	body, slot, flash, pages := 0.0, 0.0, 0.0, 0.0 // of the mean record
	for _, s := range n.sizes(at) {
		b, err := n.shape(s.Bytes, at).BodyBytes()
		if err != nil {
			b = int(s.Bytes) // beyond a limit in a far draw only: Validate has checked p90
		}
		body += s.Share * float64(b)
		slot += s.Share * float64(model.SlotBytes(b))
		flash += s.Share * float64(model.FlashBytes(b)) * model.BlockShare(b)
		pages += s.Share * model.ReadPages(b)
	}
	d.records += records + tombs
	d.index += model.ClusterIndexBytes(records + tombs)
	d.body += records * body
	d.reads += reads * peak
	d.writes += (puts + deletes) * peak
	d.readBytes += reads * peak * body
	d.writeBytes += puts * peak * body
	if n.Flash {
		tomb := float64(model.FlashBytes(0))
		d.flash += records*flash + tombs*tomb
		d.flashRecords += records
		d.flashPages += records * pages
		d.flashReads += reads * peak
		d.flashTouched += reads * peak * pages
		d.flashBytes += (puts*flash + deletes*tomb) * peak
		d.flashAverage += (puts*flash + deletes*tomb) * growth
		if n.SyncWrite {
			d.syncWrites += (puts + deletes) * peak
		}
	} else {
		d.memory += records * slot
	}
	return (reads + puts + deletes) * peak, hottestShare(at(&n.Zipf), records)
}

// hottestShare is the share of operations on the most popular of n records
// under a Zipf distribution: 1 over the generalised harmonic number.
func hottestShare(exponent, n float64) float64 {
	if exponent <= 0 || n < 1 {
		return 0
	}
	const exact = 1000 // terms summed one by one; the rest as an integral
	sum, k := 0.0, 1.0
	for ; k <= min(exact, n); k++ {
		sum += math.Pow(k, -exponent)
	}
	if n > exact {
		if math.Abs(exponent-1) < 1e-9 {
			sum += math.Log(n / exact)
		} else {
			sum += (math.Pow(n, 1-exponent) - math.Pow(exact, 1-exponent)) / (1 - exponent)
		}
	}
	return 1 / sum
}

// machine is one type, resolved: what a node has.
type machine struct {
	vcpu, ram               float64
	device, rIOPS, wIOPS    float64
	readBytes, writeBytes   float64 // of the devices, per second
	network, dwpd, dollars  float64
	readCPU, writeCPU       float64 // seconds per operation
	replicaCPU, perByteCPU  float64
	migrateCPU              float64
	requestBytes            float64
	migrateBytes, migrateHz float64
	failover, empty         float64
	scale                   model.USL
}

// What a row's confidence is worth: the factor between its p50 and its p90 of
// I/O figures. Network baselines that are not published are a prior of their
// own.
var confidenceSpread = map[catalog.Confidence]float64{catalog.Measured: 1.02, catalog.Published: 1.03, catalog.Derived: 1.1, catalog.Uncertain: 1.3}

// burstShare is the sustained share of the burst bandwidth where only the
// latter is known: least, median and greatest of the rows that have both.
var burstShare = model.Triple{P10: 0.17, P50: 0.4, P90: 1}

// deviates are the standard normal deviates of what is uncertain about every
// machine: one draw moves all types alike.
type deviates struct{ iops, network, transfer float64 }

// resolveMachine resolves a type and the model. measured says that the model
// is of this very type.
func resolveMachine(t *catalog.Type, m *model.Model, at pick, z deviates) machine {
	cpu := 1e-6
	if t.Name != m.Host.Type {
		cpu *= m.Transfer.At(z.transfer)
	}
	spread := confidenceSpread[t.Confidence]
	iops := model.Triple{P10: 1 / spread, P50: 1, P90: spread}.At(z.iops)
	k := machine{
		vcpu: t.VCPU, ram: t.RAMBytes, rIOPS: t.ReadIOPS * iops, wIOPS: t.WriteIOPS * iops,
		readBytes: t.ReadBytes * iops, writeBytes: t.WriteBytes * iops, network: t.NetBase, dwpd: t.DWPD, dollars: t.USDPerHour,
		readCPU: at(&m.ReadCPU) * cpu, writeCPU: at(&m.WriteCPU) * cpu, replicaCPU: at(&m.ReplicaCPU) * cpu,
		perByteCPU: at(&m.PerKiBCPU) * cpu / 1024, migrateCPU: at(&m.MigrateCPU) * cpu,
		requestBytes: at(&m.RequestBytes), migrateBytes: at(&m.MigrateBytes), migrateHz: at(&m.MigrateRecords),
		failover: at(&m.Failover), empty: m.EmptyBytes, scale: m.Scale,
	}
	if t.Devices > 0 {
		k.device = t.Bytes()
	}
	if math.IsNaN(k.network) {
		k.network = t.NetBurst * burstShare.At(z.network)
	}
	// Without bandwidth figures a device moves at least its IOPS of 4 KiB.
	if math.IsNaN(k.readBytes) {
		k.readBytes = k.rIOPS * ioUnit
	}
	if math.IsNaN(k.writeBytes) {
		k.writeBytes = k.wIOPS * ioUnit
	}
	return k
}
