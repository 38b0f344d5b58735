// Package hack holds the rules of the house as tests: which package may
// import which, and how code is laid out. It ships nothing. Start reading at
// layers.
package hack

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is the dependency table: a package of this module may import the
// listed ones and no others. "..." allows a whole tree. Test files are free.
// A package that is not listed fails the test: say here where it belongs.
var layers = map[string][]string{
	// values
	"node/cluster": {},
	"node/planted": {}, // bugs, in builds with that tag only
	"node/hlc":     {},
	"node/record":  {"node/cluster", "node/hlc"},
	"node/wire":    {"node/cluster", "node/hlc", "node/record"},
	// cores
	"node/heartbeat":  {"node/cluster", "node/wire", "node/planted"},
	"node/membership": {"node/cluster", "node/wire", "node/planted"},
	"node/partition":  {"node/cluster", "node/record", "node/wire", "node/planted"},
	"node/migrate":    {"node/cluster", "node/hlc", "node/record", "node/wire", "node/partition", "node/planted"},
	"node/txn":        {"node/cluster", "node/hlc", "node/record", "node/wire", "node/partition", "node/planted"},
	// I/O
	"node/disk":            {"node/disk/ring"},
	"node/disk/ring":       {},
	"node/disk/profile":    {"workloads/strict", "workloads/units"},
	"node/disk/class":      {"node/disk"},
	"node/disk/emulate":    {"node/disk", "node/disk/profile", "workloads/units"},
	"node/storage":         {"node/cluster", "node/hlc", "node/record", "node/disk", "node/disk/ring", "node/planted"},
	"node/transport":       {"node/cluster", "node/wire", "node/transport/certs"},
	"node/transport/certs": {"node/cluster"},
	"node/client":          {"node/cluster", "node/hlc", "node/record", "node/wire", "node/transport", "node/transport/certs"},
	// composition
	"node/plane":  {"node/cluster", "node/record", "node/wire", "node/partition", "node/migrate", "node/txn", "node/storage", "node/planted"},
	"node/server": {"node/..."},
	"node/sim":    {"node/..."},
	"node":        {"node/...", "workloads/strict", "workloads/units"},

	"workloads":        {"workloads/..."},
	"workloads/units":  {},
	"workloads/strict": {}, // YAML with places
	"workloads/keys":   {},
	// the formats of other tools
	"workloads/convert": {"workloads", "workloads/..."},

	"loadgen/linear": {},
	"loadgen/live":   {"workloads/units"},
	"loadgen/pace":   {"workloads/units"},
	"loadgen/result": {},
	"loadgen/target": {"node/client", "node/cluster", "node/disk", "node/disk/emulate", "node/record", "node/wire", "node/transport", "node/transport/certs", "workloads/units"},
	"loadgen/proof":  {"loadgen/result"},
	"loadgen/seek":   {"loadgen/result"},
	"loadgen/drive":  {"loadgen/linear", "loadgen/pace", "loadgen/result", "loadgen/proof", "loadgen/target", "workloads", "workloads/..."},
	"loadgen/local":  {"loadgen/result", "node/transport/certs", "workloads", "workloads/..."},
	"loadgen/device": {"loadgen/pace", "loadgen/result", "node/disk", "node/disk/profile", "workloads/units"},
	"loadgen":        {"loadgen/...", "workloads", "workloads/...", "node/transport/certs", "node/disk", "node/disk/..."},

	"planner/catalog":  {"workloads/strict"},
	"planner/examples": {},
	"planner/model":    {"node/cluster", "node/record"},
	"planner/fit":      {"loadgen/result", "node/disk/profile", "planner/model", "workloads"},
	"planner/verify":   {"loadgen/result", "node/disk/profile", "planner/catalog", "planner/model", "planner/plan", "workloads"},
	"planner/plan":     {"node/cluster", "node/partition", "node/record", "planner/catalog", "planner/examples", "planner/model", "workloads/strict", "workloads/units"},
	"planner":          {"planner/...", "workloads/units"},

	"reports/hlog":      {"loadgen/result"},
	"reports/stats":     {"loadgen/result", "reports/hlog"},
	"reports/chart":     {},
	"reports/page":      {"reports/chart"},
	"reports/runs":      {"loadgen/result", "reports/stats", "reports/chart", "reports/page"},
	"reports/studies":   {"loadgen/result", "reports/stats", "reports/chart", "reports/page", "reports/runs"},
	"reports/diff":      {"loadgen/result", "reports/hlog", "reports/stats", "reports/chart", "reports/page"},
	"reports/recompute": {"loadgen/proof", "loadgen/result", "reports/hlog", "reports/stats"}, // proof: the same statistics, else nothing is compared
	"reports/serve":     {"reports/page"},
	"reports/capacity":  {"planner/plan", "reports/chart", "reports/page"}, // the plan file's types
	"reports/sample":    {"loadgen/proof", "loadgen/result"},
	"reports":           {"loadgen/result", "reports/..."},

	"hack":          {},
	"hack/nullsink": {}, // a module of its own

	"hack/figures/rig":  {"loadgen/...", "workloads", "workloads/...", "node/client"},
	"hack/parts":        {},
	"hack/figures":      {"hack/parts", "hack/figures/rig", "loadgen/...", "node/client", "node/record", "workloads/..."},
	"hack/e2e":          {"hack/figures/rig", "loadgen/...", "node/client", "node/record"},
	"hack/benchplanner": {"loadgen/result", "node/disk/profile", "planner/model", "planner/plan", "planner/verify"},
	"hack/benchengine":  {"hack/parts", "node/disk", "node/hlc", "node/record", "node/storage"},
	"hack/batchbench":   {"node/client", "node/record", "node/wire"},
}

// pure lists the cores, and what a core must not import: it has no clock,
// socket, file, lock, goroutine or log.
var (
	pure      = []string{"node/heartbeat", "node/membership", "node/partition", "node/migrate", "node/txn", "node/cluster", "node/hlc", "node/record", "node/wire"}
	forbidden = []string{"net", "os", "io", "log", "log/slog", "sync/atomic", "context", "syscall", "net/http", "crypto/rand"}
)

const module = "headroom/"

// imports returns the module's packages and what their non-test files import.
func imports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	eachFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel("..", filepath.Dir(path))
		rel = filepath.ToSlash(rel)
		if all[rel] == nil {
			all[rel] = map[string]bool{}
		}
		for _, i := range f.Imports {
			all[rel][strings.Trim(i.Path.Value, `"`)] = true
		}
	})
	return all
}

// eachFile calls f with the path of every Go file of the module.
func eachFile(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "out" || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go"):
			f(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPackagesImportOnlyDownwards(t *testing.T) {
	for pkg, list := range imports(t) {
		allowed, known := layers[pkg]
		if !known {
			t.Errorf("package %s is not in the dependency table: add it to layers, at its place", pkg)
			continue
		}
		for path := range list {
			if !strings.HasPrefix(path, module) {
				continue
			}
			dep := strings.TrimPrefix(path, module)
			ok := slices.ContainsFunc(allowed, func(a string) bool {
				tree, whole := strings.CutSuffix(a, "...")
				return a == dep || whole && strings.HasPrefix(dep, tree)
			})
			if !ok {
				t.Errorf("%s imports %s, which its layer may not", pkg, dep)
			}
		}
	}
}

func TestCoresArePure(t *testing.T) {
	all := imports(t)
	for _, pkg := range pure {
		if all[pkg] == nil {
			t.Errorf("no package %s", pkg)
		}
		for _, bad := range forbidden {
			if all[pkg][bad] {
				t.Errorf("core %s imports %s", pkg, bad)
			}
		}
		// record keeps hash states in a pool; a core proper has no lock.
		if all[pkg]["sync"] && pkg != "node/record" {
			t.Errorf("core %s imports sync", pkg)
		}
	}
}

func TestCoresNeitherReadClocksNorStartGoroutines(t *testing.T) {
	for _, pkg := range pure {
		files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"time.Now(", "time.Sleep(", "time.After(", "\tgo func", "rand.IntN(", "rand.Uint64("} {
				if strings.Contains(string(b), bad) && !strings.Contains(string(b), "."+bad) {
					t.Errorf("%s contains %q", path, strings.TrimSpace(bad))
				}
			}
		}
	}
}
