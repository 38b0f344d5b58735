package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"headroom/node/server"
)

func TestConfigFileAndFlagsSayTheSame(t *testing.T) {
	path := write(t, `
node-id: 3
cluster-name: prod
listen: 127.0.0.1:4300
seeds: [10.0.0.1:4300, 10.0.0.2:4300]
rack: 7
drain-timeout: 10s
namespaces:
  - name: users
    replication-factor: 3
    commit: master
    default-ttl: 1h
    memory-limit: 2GiB
    missing-copies: fresh
  - name: carts
    missing-copies: unavailable
`)
	cfg, _, err := configure("run", []string{"--config", path, "--rack", "8", "--insecure"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Node != 3 || cfg.ClusterName != "prod" || len(cfg.Seeds) != 2 || cfg.Rack != 8 || !cfg.Insecure || len(cfg.Namespaces) != 2 {
		t.Errorf("configured %+v", cfg)
	}
	want := server.NamespaceConfig{Name: "users", ReplicationFactor: 3, CommitMaster: true, DefaultTTL: 3600, MemoryLimit: 2 << 30, MissingFresh: true}
	if !reflect.DeepEqual(cfg.Namespaces[0], want) {
		t.Errorf("namespace %+v, want %+v", cfg.Namespaces[0], want)
	}
	cfg, _, err = configure("run", []string{"--namespace", "users", "--replication-factor", "3", "--commit", "master", "--default-ttl", "1h", "--memory-limit", "2GiB", "--missing-copies", "fresh"})
	if err != nil || len(cfg.Namespaces) != 1 || !reflect.DeepEqual(cfg.Namespaces[0], want) {
		t.Errorf("by flags: %+v, %v; want %+v", cfg.Namespaces, err, want)
	}
}

func TestCheckSaysWhatRunWould(t *testing.T) {
	f := func(code int, says string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := dispatch(append([]string{"check"}, args...), &out, &errs); got != code || !strings.Contains(out.String()+errs.String(), says) {
			t.Errorf("check %q exits %d, want %d, and prints %q%q, want %q", args, got, code, out.String(), errs.String(), says)
		}
	}
	f(0, "is right", "--replication-factor", "3")
	f(2, "--replication-factor", "--replication-factor", "x")
	f(2, "replication", "--replication-factor", "99")
	f(2, "unknown flag", "--replicas", "3")
	f(2, "there is no file nowhere.yaml", "--config", "nowhere.yaml")
}

func TestConfigFaultsHaveTheirPlaceAndTheNearestKey(t *testing.T) {
	for text, want := range map[string]string{
		"node-id: 3\nlissten: 127.0.0.1:1\n":                   `:2:1: unknown key "lissten", did you mean "listen"?`,
		"namespaces:\n  - name: a\n    replication-facto: 2\n": `:3:5: unknown key "replication-facto", did you mean "replication-factor"?`,
		"rack: many\n":                                 ":1:7: rack: ",
		"rack: 1\nrack: 2\n":                           "rack",
		"namespaces: users\n":                          "want a list",
		"namespaces:\n  - commit: all\n":               "a namespace without name",
		"namespaces:\n  - name: a\n    commit: some\n": "want all or master",
		"listen: [a, b]\n":                             "want a single value",
		"a: b: c\n":                                    ":1:",
	} {
		_, _, err := configure("run", []string{"--config", write(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestImpossibleConfigurationsSayWhatToDo(t *testing.T) {
	for want, cfg := range map[string]server.Config{
		"headroom-node certs init": {Listen: "10.1.2.3:4300"},
		"set advertise":            {Listen: "0.0.0.0:4300", Insecure: true},
		"is not HOST:PORT":         {Listen: "4300"},
		"longer than 31 bytes":     {Listen: "127.0.0.1:1", ClusterName: "x", Namespaces: []server.NamespaceConfig{{Name: strings.Repeat("n", 32), ReplicationFactor: 1}}},
		"want 1 to 16":             {Listen: "127.0.0.1:1", Namespaces: []server.NamespaceConfig{{Name: "a", ReplicationFactor: 17}}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 2, "headroom-node run"},
		{"--help", 0, "safe-to-stop"},
		{"fly", 2, `unknown command "fly"`},
		{"run --lissten x", 2, "unknown flag"},
		{"run stray", 2, "is not a flag"},
		{"run --commit some", 2, "want all or master"},
		{"run --missing-copies some", 2, "want unavailable or fresh"},
		{"run --config /nonexistent.yaml", 2, "there is no file"},
		{"certs fly", 2, "want init, node or client"},
		{"certs node --node-id x", 2, "needs --node-id and --out"},
		{"certs init --out somewhere", 2, "no flag --out"},
		{"status --credentials /nonexistent", 1, "certs"},
		{"status --addr nonsense", 2, "is not HOST:PORT"},
		{"run --listen 127.0.0.1:99999", 2, "is not HOST:PORT"},
	} {
		var out, errs bytes.Buffer
		code := dispatch(strings.Fields(c.args), &out, &errs)
		if code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%q: exit %d, %s%s; want %d and %q", c.args, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func FuzzConfigFile(f *testing.F) {
	f.Add("node-id: 3\n")
	f.Add("namespaces:\n  - name: a\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c server.Config
		path := filepath.Join(t.TempDir(), "f.yaml")
		if os.WriteFile(path, []byte(text), 0o600) == nil {
			_ = readFile(path, &c) // must not panic
		}
	})
}
