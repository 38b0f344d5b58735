package serve

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headroom/loadgen/result"
	"headroom/reports/page"
	"headroom/reports/sample"
)

func server(t *testing.T) (*Server, *int) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "runs")
	for i, name := range []string{"old", "week/new"} {
		if err := sample.Large(filepath.Join(dir, name), sample.Size{Seconds: 2, Operations: 1, Nodes: 1, Samples: 9, Day: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sample.Alter(filepath.Join(dir, "old"), func(s *result.Summary) { s.Workload.Name = "<script>alert(1)</script>" }); err != nil {
		t.Fatal(err)
	}
	// Beside the directory, and reachable by a link: neither may be shown.
	if err := sample.Large(filepath.Join(root, "secret"), sample.Size{Seconds: 2, Operations: 1, Nodes: 1, Samples: 9}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "secret"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	renders := 0
	s, err := New(Config{Dir: dir, Render: func(p string) (*page.Document, error) {
		renders++
		return &page.Document{Title: "report of " + p}, nil
	}, Compare: func(p []string) (*page.Document, error) {
		return &page.Document{Title: "compared " + strings.Join(p, " with ")}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, &renders
}

func get(s *Server, target, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestRunsAreListedNewestFirstAndEscaped(t *testing.T) {
	s, _ := server(t)
	text := get(s, "/", "127.0.0.1:8080").Body.String()
	a, b := strings.Index(text, "week/new"), strings.Index(text, ">old<")
	if a < 0 || b < 0 || a > b {
		t.Errorf("new stands at %d, old at %d: want the newest first", a, b)
	}
	if strings.Contains(text, "<script>") || strings.Contains(text, "secret") || strings.Contains(text, ">link<") {
		t.Error("the list holds what it must not: an unescaped name, or a folder outside")
	}
}

func TestReportsAreRenderedOnceUntilTheRunChanges(t *testing.T) {
	s, renders := server(t)
	for range 2 {
		if w := get(s, "/report?run=old", "localhost:1"); w.Code != 200 || !strings.Contains(w.Body.String(), "report of ") {
			t.Fatalf("report: %d %.80s", w.Code, w.Body)
		}
	}
	if *renders != 1 {
		t.Errorf("rendered %d times, want once", *renders)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(s.cfg.Dir, "old", "run.json"), later, later); err != nil {
		t.Fatal(err)
	}
	get(s, "/report?run=old", "localhost:1")
	if *renders != 2 {
		t.Errorf("a changed run was not rendered again")
	}
	w := get(s, "/compare?run=week/new&run=old", "[::1]:80")
	if !strings.Contains(w.Body.String(), "old with ") {
		t.Errorf("the older run is not the baseline: %.300s", w.Body)
	}
}

func TestNothingOutsideTheDirectoryIsReached(t *testing.T) {
	s, renders := server(t)
	for _, name := range []string{"../secret", "link", "week/../old", "./old", "/etc", "old/", "old/..", "..", "", "old\x00", "week\\new"} {
		if w := get(s, "/report?run="+url.QueryEscape(name), "127.0.0.1"); w.Code == 200 {
			t.Errorf("run=%q was shown", name)
		}
		if w := get(s, "/compare?run=old&run="+url.QueryEscape(name), "127.0.0.1"); w.Code == 200 {
			t.Errorf("run=%q was compared", name)
		}
	}
	for _, target := range []string{"/../../etc/passwd", "/runs/old/run.json", "/report", "/compare?run=old"} {
		if w := get(s, target, "127.0.0.1"); w.Code == 200 {
			t.Errorf("%s answers 200", target)
		}
	}
	if *renders != 0 {
		t.Errorf("%d pages were rendered", *renders)
	}
}

func TestOnlyLoopbackNamesAreAnswered(t *testing.T) {
	s, _ := server(t)
	for host, want := range map[string]int{"127.0.0.1:80": 200, "localhost": 200, "[::1]:9": 200, "evil.example:80": http.StatusForbidden, "10.0.0.1": http.StatusForbidden, "": http.StatusForbidden} {
		if w := get(s, "/", host); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}
