package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headroom/workloads/strict"
	"headroom/workloads/units"
)

// Action is what a fault does to a node.
type Action string

// The actions: SIGKILL, SIGTERM, SIGSTOP, SIGCONT, and starting it again with
// its old data directory.
const (
	Kill    Action = "kill"
	Term    Action = "term"
	Stop    Action = "stop"
	Cont    Action = "cont"
	Restart Action = "start"
)

// The actions on what a node keeps its records on. FailDevice cuts the node's
// device file to nothing, CorruptDevice flips a byte in each of 20 places that
// hold something; both need a device. Fill and Empty are the load generator's:
// Fill writes records of its own until the node refuses writes, Empty deletes
// them.
const (
	FailDevice    Action = "fail-device"
	CorruptDevice Action = "corrupt-device"
	Fill          Action = "fill"
	Empty         Action = "empty"
)

var actions = []string{string(Kill), string(Term), string(Stop), string(Cont), string(Restart), string(FailDevice), string(CorruptDevice), string(Fill), string(Empty)}

// Fault is one line of a fault schedule.
type Fault struct {
	Action Action
	Node   string        // node1, …, all, or random (a live node)
	At     time.Duration // after the start of the measured phase
}

// String gives the form that ParseFault reads: "kill node3 @10s".
func (f Fault) String() string { return fmt.Sprintf("%s %s @%v", f.Action, f.Node, f.At) }

// ParseFault reads "kill node3 @10s".
func ParseFault(s string) (Fault, error) {
	const want = "want ACTION NODE @TIME, such as 'kill node3 @10s'"
	words := strings.Fields(strings.ReplaceAll(s, "@", " @"))
	if len(words) == 4 && words[2] == "@" {
		words = []string{words[0], words[1], "@" + words[3]}
	}
	if len(words) != 3 || !strings.HasPrefix(words[2], "@") {
		return Fault{}, fmt.Errorf("fault %q: %s", s, want)
	}
	f := Fault{Action: Action(words[0]), Node: words[1]}
	if !slices.Contains(actions, words[0]) {
		hint := ""
		if near := strict.Nearest(words[0], actions); near != "" {
			hint = fmt.Sprintf(", did you mean %q", near)
		}
		return Fault{}, fmt.Errorf("fault %q: action %q, want one of %s%s", s, words[0], strings.Join(actions, ", "), hint)
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(f.Node, "node")); f.Node != "all" && f.Node != "random" &&
		(err != nil || n < 1 || !strings.HasPrefix(f.Node, "node")) {
		return Fault{}, fmt.Errorf("fault %q: node %q, want node1, node2, …, all or random", s, f.Node)
	}
	var err error
	if f.At, err = units.ParseDuration(words[2][1:]); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

// Check reports a fault that names a node the cluster will not have, or lies
// outside the measured phase.
func (f Fault) Check(nodes int, duration time.Duration) error {
	if n, err := strconv.Atoi(strings.TrimPrefix(f.Node, "node")); err == nil && n > nodes {
		return fmt.Errorf("fault %q: there are %d local nodes: start %d, or give other faults with --fault", f, nodes, n)
	}
	if f.At >= duration {
		return fmt.Errorf("fault %q: the measured phase ends after %v", f, duration)
	}
	return nil
}

// Inject does f now and returns the names of the nodes it hit. r picks random
// nodes.
func (c *Cluster) Inject(ctx context.Context, f Fault, r *rand.Rand) ([]string, error) {
	hit, err := c.pick(f, r)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range hit {
		if err := c.do(ctx, f.Action, n, r); err != nil {
			return names, fmt.Errorf("%s %s: %w", f.Action, n.name, err)
		}
		names = append(names, n.name)
	}
	return names, nil
}

// pick resolves the nodes a fault means. "all" and "random" mean those that
// the action fits: live ones for kill, down ones for start.
func (c *Cluster) pick(f Fault, r *rand.Rand) ([]*node, error) {
	var fit []*node
	for _, n := range c.nodes {
		if n.name == f.Node {
			return []*node{n}, nil
		}
		up, stopped := n.running(), n.isStopped()
		switch f.Action {
		case Restart:
			if !up || n.ending() {
				fit = append(fit, n)
			}
		case Cont:
			if up && stopped {
				fit = append(fit, n)
			}
		default:
			if up && !stopped {
				fit = append(fit, n)
			}
		}
	}
	if f.Node != "all" && f.Node != "random" {
		return nil, fmt.Errorf("no node %q: the cluster has %s to %s", f.Node, c.nodes[0].name, c.nodes[len(c.nodes)-1].name)
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("%s %s: no node that it fits", f.Action, f.Node)
	}
	if f.Node == "random" {
		return []*node{fit[r.IntN(len(fit))]}, nil
	}
	return fit, nil
}

// ending reports whether the node was told to end.
func (n *node) ending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told
}

func (n *node) isStopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped
}

func (c *Cluster) do(ctx context.Context, a Action, n *node, r *rand.Rand) error {
	switch a {
	case FailDevice:
		return n.failDevice()
	case CorruptDevice:
		return n.corruptDevice(r)
	case Fill, Empty:
		return nil // the caller's own work
	case Kill:
		return n.signal(syscall.SIGKILL)
	case Term:
		return n.signal(syscall.SIGTERM)
	case Stop:
		return n.signal(syscall.SIGSTOP)
	case Cont:
		return n.signal(syscall.SIGCONT)
	}
	if n.running() {
		// A kill or term that was asked for may still be at work.
		n.mu.Lock()
		told, exited := n.told, n.exited
		n.mu.Unlock()
		if !told {
			return fmt.Errorf("it is running")
		}
		select {
		case <-exited:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.launch(n)
}
