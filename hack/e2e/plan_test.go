package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestTheNodeTakesWhatAPlanConfigures has the node check the file that the
// planner writes for each of its examples, with a device filled in.
func TestTheNodeTakesWhatAPlanConfigures(t *testing.T) {
	dir := scratch(t)
	placeholder := regexp.MustCompile(`(?m)^(\s+)device: DEVICE .*$`)
	for _, example := range []string{"local", "sessions", "profiles", "fraud", "every-key"} {
		out, code := command(t, time.Minute, program("planner"), "plan", example, "--json", "--set", "draws=100", "--set", "catalog.types=i4i.*")
		var plan struct {
			Config string `json:"node_config"`
		}
		if err := json.Unmarshal([]byte(out), &plan); err != nil || code != 0 || plan.Config == "" {
			t.Fatalf("plan %s: exit code %d, %v\n%s", example, code, err, out)
		}
		text := placeholder.ReplaceAllString(plan.Config, "${1}device: "+filepath.Join(dir, "device")+"\n${1}device-size: 256MiB")
		file := filepath.Join(dir, example+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := command(t, time.Minute, program("node"), "check", "--config", file); code != 0 {
			t.Errorf("%s: exit code %d: %s\n%s", example, code, out, text)
		}
	}
}
