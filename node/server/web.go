package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// web is the node's HTTP address: /metrics, /healthz, /readyz, /status. It
// serves facts, never data, and takes no commands.
type web struct {
	ln  net.Listener
	srv *http.Server
}

func (n *Node) startWeb() error {
	if n.cfg.HTTP == "off" {
		return nil
	}
	ln, err := net.Listen("tcp", n.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w; choose another address with --http, or --http off", err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{n})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", n.readyz)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(n.Status()) // the asker went away
	})
	n.web = &web{ln: ln, srv: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}}
	n.wg.Go(func() {
		if err := n.web.srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("http ended", "err", err)
		}
	})
	return nil
}

func (n *Node) closeWeb() {
	if n.web == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.web.srv.Shutdown(ctx) != nil {
		n.web.srv.Close()
	}
}

// HTTPAddr returns host:port of the HTTP address, or "" if there is none.
func (n *Node) HTTPAddr() string {
	if n.web == nil {
		return ""
	}
	return n.web.ln.Addr().String()
}

// readyz answers 200 when this node serves: it is in a View, not frozen, not
// leaving, and holds a lease. The reason is in the body otherwise. A device
// that failed is named, but the node serves what the others hold.
func (n *Node) readyz(w http.ResponseWriter, _ *http.Request) {
	s := n.state()
	if s == "serving" {
		fmt.Fprintln(w, "ready")
		for _, d := range n.Status().Devices {
			if d.Error != "" {
				fmt.Fprintf(w, "device %s failed: %s\n", d.Path, d.Error)
			}
		}
		return
	}
	if p := n.unstored.Load(); p != nil {
		s = *p
	}
	if s == "waiting" {
		s = "waiting for the other members to confirm this node (no lease); status names broken links"
	}
	http.Error(w, s, http.StatusServiceUnavailable)
}

// collector turns Status and the transport's counters into Prometheus samples.
type collector struct{ n *Node }

var (
	descMembers     = prometheus.NewDesc("headroom_view_members", "Members of the committed View.", nil, nil)
	descViewCounter = prometheus.NewDesc("headroom_view_counter", "Counter of the committed View's key.", nil, nil)
	descServing     = prometheus.NewDesc("headroom_serving", "1 if this node serves.", nil, nil)
	descLinks       = prometheus.NewDesc("headroom_link_faults", "Directions in which two live nodes do not hear each other, as far as this node knows.", nil, nil)
	descQuiesced    = prometheus.NewDesc("headroom_quiesced", "1 if an operator quiesced this node.", nil, nil)
	descOps         = prometheus.NewDesc("headroom_operations_total", "Operations executed.", []string{"namespace", "kind"}, nil)
	descRecords     = prometheus.NewDesc("headroom_records", "Records held, tombstones apart.", []string{"namespace", "kind"}, nil)
	descMigrate     = prometheus.NewDesc("headroom_migrate_partitions_left", "Partitions this node has still to migrate.", []string{"namespace"}, nil)
	descMigrateB    = prometheus.NewDesc("headroom_migrate_bytes_left", "Bytes this node has still to migrate.", []string{"namespace"}, nil)
	descMoved       = prometheus.NewDesc("headroom_migrate_bytes_total", "Bytes moved in migrations.", []string{"namespace"}, nil)
	descUnavailable = prometheus.NewDesc("headroom_partitions_unavailable", "Partitions of which no member holds a full copy.", []string{"namespace"}, nil)
	descConflicts   = prometheus.NewDesc("headroom_conflicts_discarded_total", "Acknowledged versions discarded when a split healed, counted by this node, perhaps among others.", []string{"namespace", "cause"}, nil)
	descRecounted   = prometheus.NewDesc("headroom_conflicts_recounted_total", "Of headroom_conflicts_discarded_total, versions that another node counts, too: subtract them.", []string{"namespace", "cause"}, nil)
	descMasters     = prometheus.NewDesc("headroom_partitions_mastered", "Partitions this node serves as working master.", []string{"namespace"}, nil)
	descUsed        = prometheus.NewDesc("headroom_memory_used_bytes", "Index and data of a namespace.", []string{"namespace"}, nil)
	descFull        = prometheus.NewDesc("headroom_capacity", "0: room; 1: nearly full, writes will stop soon; 2: writes are refused.", []string{"namespace"}, nil)
	descEviction    = prometheus.NewDesc("headroom_eviction", "0: no eviction; 1: records will be evicted soon; 2: records are evicted.", []string{"namespace"}, nil)
	descEvicted     = prometheus.NewDesc("headroom_evicted_total", "Records removed before their time to make room.", []string{"namespace"}, nil)
	descDevOps      = prometheus.NewDesc("headroom_device_requests_total", "Requests to a device.", []string{"path", "class", "kind"}, nil)
	descDevTime     = prometheus.NewDesc("headroom_device_request_seconds_total", "Time that requests to a device took, summed over requests.", []string{"path", "class", "kind"}, nil)
	descDevFailed   = prometheus.NewDesc("headroom_device_failed", "1 if the device was given up.", []string{"path", "class"}, nil)
	descDevUsed     = prometheus.NewDesc("headroom_device_used_bytes", "Live bytes on a device.", []string{"path", "class"}, nil)
	descDevSize     = prometheus.NewDesc("headroom_device_size_bytes", "Size of a device, 0 for memory without a limit.", []string{"path", "class"}, nil)
	descDevDamage   = prometheus.NewDesc("headroom_device_damaged_total", "Records and places found damaged.", []string{"path", "class"}, nil)
	descDevOver     = prometheus.NewDesc("headroom_device_overloads_total", "Writes refused because too much waited to be written.", []string{"path", "class"}, nil)
	descDropped     = prometheus.NewDesc("headroom_dropped_total", "What was refused or dropped, by reason.", []string{"reason"}, nil)
)

// Describe implements prometheus.Collector: the set of metrics is fixed.
func (m collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m collector) Collect(ch chan<- prometheus.Metric) {
	n := m.n
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := n.Status()
	gauge(descMembers, float64(len(s.Members)))
	if v := n.view.Load(); v != nil {
		gauge(descViewCounter, float64(v.Key.Counter))
	}
	serving := 0.0
	if s.State == "serving" {
		serving = 1
	}
	gauge(descServing, serving)
	gauge(descLinks, float64(len(s.LinkFaults)))
	quiesced := 0.0
	if s.Quiesced {
		quiesced = 1
	}
	gauge(descQuiesced, quiesced)
	for _, d := range s.Devices {
		failed := 0.0
		if d.State == "failed" {
			failed = 1
		}
		gauge(descDevFailed, failed, d.Path, d.Class)
		gauge(descDevUsed, float64(d.UsedBytes), d.Path, d.Class)
		gauge(descDevSize, float64(d.SizeBytes), d.Path, d.Class)
		count(descDevDamage, d.Corrupt, d.Path, d.Class)
		count(descDevOver, d.Overloads, d.Path, d.Class)
		if l := d.Load; l != nil {
			for kind, v := range map[string][2]uint64{"read": {l.Reads, l.ReadUS}, "write": {l.Writes, l.WriteUS}, "sync": {l.Syncs, l.SyncUS}} {
				count(descDevOps, v[0], d.Path, d.Class, kind)
				ch <- prometheus.MustNewConstMetric(descDevTime, prometheus.CounterValue, float64(v[1])/1e6, d.Path, d.Class, kind)
			}
		}
	}
	for i, ns := range s.Namespaces {
		count(descOps, ns.Reads, ns.Name, "read")
		count(descOps, ns.Writes, ns.Name, "write")
		count(descOps, ns.ReplicaWrites, ns.Name, "replica_write")
		count(descOps, ns.InDoubt, ns.Name, "in_doubt")
		count(descOps, ns.Forwarded, ns.Name, "forwarded")
		gauge(descRecords, float64(ns.Records), ns.Name, "live")
		gauge(descRecords, float64(ns.Tombstones), ns.Name, "tombstone")
		gauge(descMigrate, float64(ns.Migrations.PartitionsLeft), ns.Name)
		gauge(descMigrateB, float64(ns.Migrations.BytesLeft), ns.Name)
		count(descMoved, ns.Migrations.BytesMoved, ns.Name)
		gauge(descUnavailable, float64(ns.Unavailable), ns.Name)
		countConflicts(count, &ns)
		gauge(descMasters, float64(ns.Masters[s.Node]), ns.Name)
		count(descEvicted, ns.Evicted, ns.Name)
		gauge(descEviction, float64(max(evictionOf(&n.namespaces[i].cfg, ns.UsedPct), evictIdle)-evictIdle), ns.Name)
		st := n.namespaces[i].store.Stats()
		gauge(descUsed, float64(st.IndexBytes+st.DataBytes), ns.Name)
		gauge(descFull, float64(fullnessOf(&n.namespaces[i].cfg, st, n.namespaces[i].store.Devices())), ns.Name)
	}
	t := n.ep.Stats()
	for reason, v := range map[string]uint64{"control_queue_full": n.eventsDropped.Load(), "bad_pulse": n.badPulses.Load(), "overdue_request": n.overdue.Load(),
		"foreign_datagram": t.PulsesGarbage.Load(), "refused_peer": t.RefusedPeers.Load(),
		"malformed_frame": t.Malformed.Load(), "backpressure": t.Backpressure.Load(), "stalled_peer": t.Stalled.Load()} {
		count(descDropped, v, reason)
	}
}

// countConflicts gives each cause two counters that only grow.
func countConflicts(count func(d *prometheus.Desc, n uint64, labels ...string), ns *StatusNamespace) {
	c, back := ns.Conflicts, ns.ConflictsRecounted
	count(descConflicts, c.Merge+back.Merge, ns.Name, "merge")
	count(descConflicts, c.Access+back.Access, ns.Name, "access")
	count(descRecounted, back.Merge, ns.Name, "merge")
	count(descRecounted, back.Access, ns.Name, "access")
}
