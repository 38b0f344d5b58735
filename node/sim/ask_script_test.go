package sim

import (
	"fmt"
	"testing"
	"time"
)

// ask runs the script commands that only look, and one for the group:
//
//	group ID… cut|heal   the multicast group does not reach these nodes
//	links ID…   the broken links that these nodes report
//	rounds      rounds that all nodes proposed, Views that were committed
//	freeze      longest freeze of any node since the last time
//	leases ID…  whether these nodes may answer now
func ask(t *testing.T, w *World, f []string, log func(string)) bool {
	switch f[0] {
	case "group":
		for _, n := range nodesOf(t, w, f[1]) {
			w.Net.CutGroup(n, f[2] == "cut")
		}
	case "links":
		for _, n := range nodesOf(t, w, f[1]) {
			for _, l := range n.Heartbeat.BrokenLinks(n.Now()) {
				log(fmt.Sprintf("node%d reports: %v does not hear %v", n.ID, l.From, l.To))
			}
		}
	case "rounds":
		rounds, views := uint64(0), map[string]bool{}
		for _, n := range w.Nodes {
			if n.Up {
				rounds += n.Membership.Stats().Rounds
			}
			for _, c := range n.Commits {
				views[c.View.Key.String()] = true
			}
		}
		log(fmt.Sprintf("%d rounds proposed, %d Views committed", rounds, len(views)))
	case "freeze":
		longest := time.Duration(0)
		for _, n := range w.Nodes {
			longest, n.Froze = max(longest, n.Froze), 0
		}
		log(fmt.Sprintf("longest freeze %.1f ms", ms(longest)))
	case "leases":
		for _, n := range nodesOf(t, w, f[1]) {
			log(fmt.Sprintf("node%d may answer: %v", n.ID, n.Serves()))
		}
	default:
		return false
	}
	return true
}
