// Package local owns clusters of real node processes on this machine: starting
// them, injecting faults into them, watching what they say of themselves, and
// ending them. It knows the node only by its command line and its HTTP status;
// it sends no load and writes no result.
//
// The invariant to know: no node outlives this process. Close ends them all,
// and a crash of this process ends them by the kernel (parent-death signal).
//
// Start reading at Start; faults are in fault.go, the observation of views and
// migrations in watch.go.
package local

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// MaxNodes bounds a local cluster: beyond it a machine only swaps.
	MaxNodes = 64
	// readyTimeout is how long Start waits for one View of all nodes. A quiet
	// machine takes under a second.
	readyTimeout = 60 * time.Second
	// logTail is how much of a node's log an error shows.
	logTail = 2000
)

// Config says what to start. Zero values mean the defaults.
type Config struct {
	Nodes  int
	Binary string // default: FindNode
	// Dir holds the nodes' data, logs and certificates. Default: a temporary
	// directory that Close removes.
	Dir  string
	Name string // of the cluster, default "local"
	// Namespace is the name of the nodes' one namespace, default the node's own default.
	Namespace string
	// Device puts the records of each node on a file NODE.device in DeviceDir
	// (default: Dir), behind this prefix: "", or "emulated:nvme@20:". Nil keeps
	// them in memory.
	Device    *string
	DeviceDir string
	// Devices is how many such files each node has; zero means one. The second
	// is NODE.device2.
	Devices int
	// DeviceAt gives single files another prefix than Device, by their names:
	// one of a kind that dies or hangs among good ones.
	DeviceAt map[string]string
	// Flags are further flags of every node, without dashes: replication-factor.
	Flags map[string]string
	// Schedulers is GOMAXPROCS of each node. Zero shares this machine's
	// processors out among the nodes, one at least: throughput is 20 to 57 % more
	// than with a node's own default, all processors (measured on two). A node
	// with one of them answers nobody while anything else runs in it.
	Schedulers int
}

// Cluster is a set of node processes. Its methods may be called from any
// goroutine.
type Cluster struct {
	cfg   Config
	temp  bool
	nodes []*node
}

// node is one node over all its lives.
type node struct {
	name       string // node1, …
	addr, http string // host:port
	args       []string
	devices    []string // files of its records
	log        string   // path

	mu      sync.Mutex // guards all below
	cmd     *exec.Cmd  // nil when down
	exited  chan struct{}
	stopped bool // by SIGSTOP
	told    bool // its end was asked for
}

// FindNode returns the path of headroom-node: beside this program, then on
// PATH.
func FindNode() (string, error) {
	const name = "headroom-node"
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("no %s beside this program nor on PATH: build it with `make build`", name)
}

// Start starts the nodes and returns when all are ready in one View. On an
// error everything is ended again.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return nil, fmt.Errorf("%d local nodes, want 1 to %d", cfg.Nodes, MaxNodes)
	}
	if cfg.Name == "" {
		cfg.Name = "local"
	}
	var err error
	if cfg.Binary == "" {
		if cfg.Binary, err = FindNode(); err != nil {
			return nil, err
		}
	}
	c := &Cluster{cfg: cfg}
	if cfg.Dir == "" {
		c.temp = true
		if c.cfg.Dir, err = os.MkdirTemp("", "headroom-"); err != nil {
			return nil, err
		}
	}
	if err := c.start(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	addrs, err := freeAddrs("udp", c.cfg.Nodes)
	if err != nil {
		return err
	}
	https, err := freeAddrs("tcp", c.cfg.Nodes)
	if err != nil {
		return err
	}
	if err := c.freshDevices(); err != nil {
		return err
	}
	for i := range c.cfg.Nodes {
		n := &node{name: "node" + strconv.Itoa(i+1), addr: addrs[i], http: https[i]}
		dir := filepath.Join(c.cfg.Dir, n.name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		n.log = filepath.Join(c.cfg.Dir, n.name+".log")
		n.args = []string{"run", "--node-id", strconv.Itoa(i + 1), "--cluster-name", c.cfg.Name, "--listen", n.addr,
			"--seed", strings.Join(addrs, ","), "--http", n.http, "--data-dir", dir, "--credentials", c.Credentials()}
		if c.cfg.Namespace != "" {
			n.args = append(n.args, "--namespace", c.cfg.Namespace)
		}
		if c.cfg.Device != nil {
			n.args = append(n.args, "--device="+strings.Join(c.deviceFiles(n), ","))
		}
		for _, key := range sortedKeys(c.cfg.Flags) {
			n.args = append(n.args, "--"+key+"="+c.cfg.Flags[key])
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := c.launch(n); err != nil {
			return err
		}
	}
	return c.awaitView(ctx)
}

// deviceFiles names the files of a node's records, and returns them as its flag
// wants them.
func (c *Cluster) deviceFiles(n *node) (flags []string) {
	for i := range max(c.cfg.Devices, 1) {
		name := n.name + ".device"
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		file := filepath.Join(cmp.Or(c.cfg.DeviceDir, c.cfg.Dir), name)
		n.devices = append(n.devices, file)
		prefix, ok := c.cfg.DeviceAt[name]
		if !ok {
			prefix = *c.cfg.Device
		}
		flags = append(flags, prefix+file)
	}
	return flags
}

// freshDevices refuses a directory in which a device of a node lies already:
// it may hold someone's records.
func (c *Cluster) freshDevices() error {
	if c.cfg.DeviceDir == "" {
		return nil
	}
	old, err := filepath.Glob(filepath.Join(c.cfg.DeviceDir, "node*.device*"))
	if err == nil && len(old) > 0 {
		err = fmt.Errorf("%s is there already: remove it, or give another directory", old[0])
	}
	return err
}

// launch starts one process of n, which must be down.
func (c *Cluster) launch(n *node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(c.cfg.Binary, n.args...)
	procs := cmp.Or(c.cfg.Schedulers, max(1, runtime.NumCPU()/c.cfg.Nodes))
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	cmd.Stdout, cmd.Stderr = log, log
	// Its own process group: a Ctrl-C at the terminal ends the run, not the nodes under it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	n.exited = make(chan struct{})
	exited := n.exited
	go func() {
		// The parent-death signal follows the thread that forked: hold it until
		// the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended does not matter, that it did does
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", c.cfg.Binary, err)
	}
	n.cmd, n.stopped, n.told = cmd, false, false
	return nil
}

// freeAddrs returns loopback addresses whose ports are free at this moment.
func freeAddrs(network string, n int) ([]string, error) {
	var out []string
	var open []interface{ Close() error }
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range n {
		if network == "udp" {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			open, out = append(open, c), append(out, c.LocalAddr().String())
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open, out = append(open, l), append(out, l.Addr().String())
	}
	return out, nil
}

// awaitView waits until every node is ready and sees the same View of all.
func (c *Cluster) awaitView(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	why := errors.New("not asked yet")
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes did not form a cluster of %d: %w%s", len(c.nodes), why, c.tails())
		case <-tick.C:
		}
		if why = c.oneView(ctx); why == nil {
			return nil
		}
		for _, n := range c.nodes {
			if !n.running() {
				return fmt.Errorf("%s ended while starting%s", n.name, tail(n.log))
			}
		}
	}
}

// oneView returns nil when all nodes are ready in one View, else why not.
func (c *Cluster) oneView(ctx context.Context) error {
	key := ""
	for _, n := range c.nodes {
		if err := ready(ctx, n.http); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		s, err := FetchStatus(ctx, n.http)
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if len(s.Members) != len(c.nodes) || key != "" && s.ViewKey != key {
			return fmt.Errorf("%s is in View %q with %d members", n.name, s.ViewKey, len(s.Members))
		}
		key = s.ViewKey
	}
	return nil
}

func (c *Cluster) tails() string {
	var b strings.Builder
	for _, n := range c.nodes {
		b.WriteString(tail(n.log))
	}
	return b.String()
}

// tail returns the end of a node's log for an error.
func tail(path string) string {
	text := bytes.TrimSpace(end(path, logTail))
	if len(text) == 0 {
		return ""
	}
	return fmt.Sprintf("\n--- %s\n%s", filepath.Base(path), text)
}

// Logs returns the last limit bytes, in whole lines, of each node's log, by
// name.
func (c *Cluster) Logs(limit int64) map[string][]byte {
	out := map[string][]byte{}
	for _, n := range c.nodes {
		if text := end(n.log, limit); len(text) > 0 {
			out[n.name] = text
		}
	}
	return out
}

// end reads the last lines of a file, nothing where that is not possible.
func end(path string, limit int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil
	}
	from := max(0, size-limit)
	text := make([]byte, size-from)
	n, err := f.ReadAt(text, from)
	if err != nil && err != io.EOF {
		return nil
	}
	text = text[:n]
	if from > 0 { // it begins within a line
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return text
}

// Addrs returns the nodes' addresses, in order of their ids.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, n.addr)
	}
	return out
}

// HTTP returns the HTTP address of a node by its name, "" for none.
func (c *Cluster) HTTP(name string) string {
	for _, n := range c.nodes {
		if n.name == name {
			return n.http
		}
	}
	return ""
}

// Devices returns the files of a node's records.
func (c *Cluster) Devices(name string) []string {
	for _, n := range c.nodes {
		if n.name == name {
			return slices.Clone(n.devices)
		}
	}
	return nil
}

// Names returns the nodes' names, "node1" first.
func (c *Cluster) Names() []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, n.name)
	}
	return out
}

// Credentials is the directory of the cluster's certificates, which the nodes
// make on their first start; a client's are among them.
func (c *Cluster) Credentials() string { return filepath.Join(c.cfg.Dir, "certs") }

// Dir is the directory of data and logs.
func (c *Cluster) Dir() string { return c.cfg.Dir }

// Close kills all nodes and removes a temporary directory. It returns when
// they are gone.
func (c *Cluster) Close() error {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(n.end)
	}
	wg.Wait()
	for _, n := range c.nodes {
		for _, file := range n.devices {
			if c.cfg.DeviceDir != "" {
				_ = os.Remove(file) // ours alone: Start has refused one that was there
			}
		}
	}
	if c.temp {
		return os.RemoveAll(c.cfg.Dir)
	}
	return nil
}

// end kills the node, if it runs, and waits until it is gone. Nothing of it is
// needed any more; a drain to nodes that are leaving too would only time out.
func (n *node) end() {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited == nil {
		return
	}
	_ = n.signal(syscall.SIGKILL) // it may be gone already
	<-exited
}

// running reports whether the process lives, stopped or not.
func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// signal sends sig to the living process.
func (n *node) signal(sig syscall.Signal) error {
	if !n.running() {
		return fmt.Errorf("%s is not running", n.name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch sig {
	case syscall.SIGSTOP:
		n.stopped = true
	case syscall.SIGCONT:
		n.stopped = false
	case syscall.SIGKILL, syscall.SIGTERM:
		n.told = true
	}
	return n.cmd.Process.Signal(sig)
}

// pid returns the process id, zero when down.
func (n *node) pid() int {
	if !n.running() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
