package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headroom/reports/sample"
)

func TestExitCodes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := sample.Write(dir); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "r.html")
	f := func(want int, says string, args ...string) {
		t.Helper()
		var out, errOut bytes.Buffer
		if got := run(args, &out, &errOut); got != want {
			t.Errorf("%q exits %d, want %d: %s", args, got, want, errOut.String())
		}
		if !strings.Contains(out.String()+errOut.String(), says) {
			t.Errorf("%q prints %q%q, want %q", args, out.String(), errOut.String(), says)
		}
	}
	f(0, page, "html", dir, "-o", page)
	f(0, "4 nodes held", "terminal", dir)
	f(0, "Report                    x.html", "summary", dir, "--report", "x.html")
	f(0, "Usage:", "--help")
	f(0, "Usage:", "html", "--help")
	f(2, "give a command")
	f(2, "unknown command", "htlm", dir)
	f(2, "one run folder", "html")
	f(2, "unknown flag", "html", dir, "--nope")
	f(1, "no run folder", "html", t.TempDir())
	f(1, "", "html", dir, "-o", filepath.Join(dir, "no", "such", "r.html"))
	if text, err := os.ReadFile(page); err != nil || !bytes.HasPrefix(text, []byte("<!doctype html>")) {
		t.Errorf("page starts %.40q, %v", text, err)
	}
}
