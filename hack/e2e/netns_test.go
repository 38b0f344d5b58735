package e2e

import (
	"strings"
	"testing"
	"time"
)

// The scripts say for themselves why they are skipped, where they are.
func TestMachinesInNetworkNamespaces(t *testing.T) {
	if !*long {
		t.Skip("a long scenario: run make e2e, or go test ./hack/e2e -e2e")
	}
	t.Setenv("HEADROOM_BIN", bin)
	for _, name := range []string{"three-machines", "multicast", "slow-link"} {
		t.Run(name, func(t *testing.T) {
			out, code := command(t, 3*time.Minute, "../netns/"+name+".sh")
			switch {
			case code != 0:
				t.Errorf("exit code %d:\n%s", code, out)
			case strings.Contains(out, "skipped: "):
				t.Skip(strings.TrimSpace(out))
			}
		})
	}
}
