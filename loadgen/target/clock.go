package target

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// clockQuestions is how many times a node is asked for its clock. The quickest
// answer decides; 16 find a quiet moment of a busy path.
const clockQuestions = 16

// ClockOffset is this machine's wall clock less that of a node, within Error:
// half of the quickest round trip, in which the node read its clock.
type ClockOffset struct {
	Node          string
	Offset, Error time.Duration
}

// Clock compares this machine's wall clock with that of the node at addr. It
// waits as long as ctx lets it; a node that does not know the question is an
// error.
func (a *StatusAsker) Clock(ctx context.Context, addr string) (ClockOffset, error) {
	best := ClockOffset{Error: time.Hour}
	for range clockQuestions {
		text, sent, got, err := a.command(ctx, addr, clockCommand)
		if err != nil {
			return best, err
		}
		var answer struct {
			Node   string `json:"node"`
			UnixNS int64  `json:"unix_ns"`
			Error  string `json:"error"`
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return best, fmt.Errorf("clock of %s: %w", addr, err)
		}
		if answer.UnixNS == 0 {
			return best, fmt.Errorf("%s does not tell its clock: %s", addr, answer.Error)
		}
		if c := offset(sent, got, time.Unix(0, answer.UnixNS)); c.Error < best.Error {
			c.Node = answer.Node
			best = c
		}
	}
	return best, nil
}

// offset is what one question says. The round trip is measured by the monotonic
// clock: one that is set meanwhile moves the offset, not its error.
func offset(sent, got, node time.Time) ClockOffset {
	half := got.Sub(sent) / 2
	return ClockOffset{Offset: sent.Add(half).Sub(node.Round(0)), Error: half}
}
