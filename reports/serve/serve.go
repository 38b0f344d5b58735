// Package serve shows the run folders below a directory on a loopback page:
// the newest first, each a link to its report, any two or more to compare. It
// reads and renders on request and writes nothing.
//
// The invariant to know: a request names a folder only by the exact relative
// path under which a scan without symbolic links has just found it, so nothing
// outside the directory can be reached; and only requests that were made for a
// loopback name are answered, so that no other site's script can read along.
//
// Start reading at New.
package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"headroom/reports/page"
)

// Bounds of a scan and of what is kept.
const (
	maxDepth   = 4      // folders below the directory
	maxEntries = 20_000 // looked at
	maxShown   = 500    // newest folders listed
	maxCached  = 8      // rendered pages kept: some megabytes each
	maxCompare = 12     // runs of one comparison
)

// documents are the files that make a folder worth listing.
var documents = []string{"device.json", "run.json", "knee.json", "matrix.json", "overload.json", "calibrate.json"}

// Config is what a Server shows and how.
type Config struct {
	Dir string
	// Render returns the report of a folder, Compare that of several.
	Render  func(path string) (*page.Document, error)
	Compare func(paths []string) (*page.Document, error)
}

// Server is an http.Handler for one directory.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu    sync.Mutex // guards cache; one page is rendered at a time
	cache []rendered // least recently used first
}

type rendered struct {
	key  string
	html []byte
}

// New returns a server for a directory that exists.
func New(cfg Config) (*Server, error) {
	info, err := os.Stat(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", cfg.Dir)
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /{$}", s.index)
	s.mux.HandleFunc("GET /report", s.report)
	s.mux.HandleFunc("GET /compare", s.compare)
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !Loopback(r.Host) {
		http.Error(w, "this server answers for loopback names only", http.StatusForbidden)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	s.mux.ServeHTTP(w, r)
}

// Loopback reports whether a host, with or without a port, is this machine's
// loopback.
func Loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// entry is one listed folder.
type entry struct {
	Path, Kind, Title, What string
	Started                 time.Time
	When                    string
	Comparable              bool
	changed                 time.Time
}

// scan lists the folders, the newest first. Symbolic links are not followed.
func (s *Server) scan() (list []entry) {
	seen := 0
	root := filepath.Clean(s.cfg.Dir)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > maxEntries {
			return filepath.SkipAll
		}
		if err != nil || !d.IsDir() {
			return nil // what cannot be read is not listed
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if rel != "." && strings.Count(rel, string(filepath.Separator)) >= maxDepth {
			return filepath.SkipDir
		}
		if e, ok := look(path, rel); ok {
			list = append(list, e)
		}
		return nil
	})
	sort.SliceStable(list, func(i, j int) bool {
		if !list[i].Started.Equal(list[j].Started) {
			return list[i].Started.After(list[j].Started)
		}
		return list[i].Path < list[j].Path
	})
	return list[:min(len(list), maxShown)]
}

// maxHead bounds what is read of a document for the list.
const maxHead = 8 << 20

// look reads the head of a folder's document.
func look(path, rel string) (entry, bool) {
	for _, name := range documents {
		file := filepath.Join(path, name)
		info, err := os.Lstat(file)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		e := entry{Path: rel, Kind: strings.TrimSuffix(name, ".json"), changed: info.ModTime(), Started: info.ModTime()}
		var head struct {
			ID       string
			Started  time.Time
			Workload struct{ Name string }
			Target   string
		}
		if b, err := os.ReadFile(file); info.Size() > maxHead || err != nil || json.Unmarshal(b, &head) != nil {
			e.What = name + " cannot be read"
		} else {
			e.Title, e.What = head.Workload.Name, head.Target
			if !head.Started.IsZero() {
				e.Started = head.Started
			}
		}
		e.Comparable = e.Kind == "run"
		e.When = e.Started.UTC().Format("2006-01-02 15:04 UTC")
		return e, true
	}
	return entry{}, false
}

var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>Runs</title><style>{{.Style}}</style></head>
<body><header><p class="meta">Headroom reports</p><h1>{{.Title}}</h1></header>
<main>{{if .List}}<form action="/compare" method="get">
<p>Choose two or more runs and compare them; the earliest chosen is the baseline.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Run folders, the newest first"><table class="many">
<thead><tr><th scope="col" class="word">Folder</th><th scope="col" class="word">kind</th><th scope="col" class="word">workload</th><th scope="col" class="word">target</th><th scope="col" class="word">started</th><th scope="col" class="word">compare</th></tr></thead>
<tbody>{{range .List}}<tr><th scope="row"><a href="/report?run={{.Path}}">{{.Path}}</a></th><td class="word" data-label="kind">{{.Kind}}</td><td class="word" data-label="workload">{{.Title}}</td><td class="word" data-label="target">{{.What}}</td><td class="word" data-label="started">{{.When}}</td><td class="word" data-label="compare">{{if .Comparable}}<input type="checkbox" name="run" value="{{.Path}}" aria-label="compare {{.Path}}">{{end}}</td></tr>
{{end}}</tbody></table></div>
<p><button>Compare the chosen runs</button></p></form>{{else}}<p class="absent">No run folder here yet: headroom-loadgen run … --out DIR makes one below this directory; reload then.</p>{{end}}</main>
</body></html>
`))

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	list := s.scan()
	title := fmt.Sprintf("%d run folders", len(list))
	if len(list) == 1 {
		title = "1 run folder"
	}
	if len(list) == maxShown {
		title = fmt.Sprintf("The newest %d run folders", maxShown)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = indexPage.Execute(w, struct { // the reader has gone, if anything
		Style template.CSS
		Title string
		List  []entry
	}{template.CSS(page.Style()), title, list}) //nolint:gosec // our own text
}

// find returns the listed folders that a request names, in the order of their
// start.
func (s *Server) find(names []string) (list []entry, err error) {
	all := s.scan()
	for _, n := range names {
		i := slices.IndexFunc(all, func(e entry) bool { return e.Path == n })
		if i < 0 {
			return nil, fmt.Errorf("no run folder %q here", n)
		}
		list = append(list, all[i])
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Started.Before(list[j].Started) })
	return list, nil
}

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	names := r.URL.Query()["run"]
	if len(names) != 1 {
		http.Error(w, "name one run: /report?run=…", http.StatusBadRequest)
		return
	}
	s.answer(w, names, func(paths []string) (*page.Document, error) { return s.cfg.Render(paths[0]) })
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	names := r.URL.Query()["run"]
	if len(names) < 2 || len(names) > maxCompare {
		http.Error(w, fmt.Sprintf("choose 2 to %d runs, not %d", maxCompare, len(names)), http.StatusBadRequest)
		return
	}
	s.answer(w, names, s.cfg.Compare)
}

// answer renders what names ask for, or takes it from the cache.
func (s *Server) answer(w http.ResponseWriter, names []string, render func([]string) (*page.Document, error)) {
	list, err := s.find(names)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	key, paths := "", make([]string, len(list))
	for i, e := range list {
		paths[i] = filepath.Join(s.cfg.Dir, e.Path)
		key += fmt.Sprintf("%q %d ", e.Path, e.changed.UnixNano())
	}
	html, err := s.rendered(key, func() (*page.Document, error) { return render(paths) })
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(html) // the reader has gone, if anything
}

func (s *Server) rendered(key string, render func() (*page.Document, error)) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.cache {
		if c.key == key {
			s.cache = append(append(s.cache[:i:i], s.cache[i+1:]...), c)
			return c.html, nil
		}
	}
	d, err := render()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.HTML(&b, d); err != nil {
		return nil, err
	}
	s.cache = append(s.cache, rendered{key, b.Bytes()})
	if len(s.cache) > maxCached {
		s.cache = slices.Delete(s.cache, 0, 1)
	}
	return b.Bytes(), nil
}
