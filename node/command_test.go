package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"headroom/node/server"
)

// running starts a node in this process and returns its address and the
// directory of its credentials.
func running(t *testing.T) (addr, credentials string) {
	t.Helper()
	dir := t.TempDir()
	n, err := server.Start(context.Background(), server.Config{Node: 3, Listen: "127.0.0.1:0", HTTP: "off", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n.Addr(), dir + "/certs"
}

func TestCommandsAgainstARunningNode(t *testing.T) {
	addr, credentials := running(t)
	f := func(code int, want string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		got := dispatch(append(args, "--addr", addr, "--credentials", credentials), &out, &errs)
		if text := out.String() + errs.String(); got != code || !strings.Contains(text, want) {
			t.Errorf("%v: exit %d, %s; want %d and %q", args, got, text, code, want)
		}
		return out.String()
	}
	f(0, "node3 quiesced", "quiesce")
	f(0, "already", "quiesce")
	f(0, "node3 in cluster", "status")
	var s server.Status
	if err := json.Unmarshal([]byte(f(0, `"quiesced": true`, "status", "--json")), &s); err != nil || !s.Quiesced {
		t.Errorf("status --json: %v, quiesced %v", err, s.Quiesced)
	}
	f(0, "no longer quiesced", "unquiesce")
	f(0, `"done":"was not quiesced"`, "unquiesce", "--json")
	f(2, "is not a flag", "quiesce", "node3")
	f(1, `"orders" is unknown here; there is default`, "revive", "--namespace", "orders")
	f(2, "name the --namespace", "revive")
	f(2, "want a duration", "quiesce", "--wait", "-1s")
	f(2, "unknown flag", "unquiesce", "--wait", "1s")
}
