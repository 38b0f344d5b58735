package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// browserNames are the programs that are tried, in order.
var browserNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// tab is one page of a headless Chromium, driven over its debugging protocol.
type tab struct {
	ws     *websocket.Conn
	id     int
	events []event
}

type event struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
	event
}

// openTab starts a browser that reaches no network, or skips the test. It is
// ended with the test.
func openTab(t *testing.T, width int) *tab {
	t.Helper()
	program := ""
	for _, n := range browserNames {
		if p, err := exec.LookPath(n); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skipf("no Chromium here (%s): pages are not opened", strings.Join(browserNames, ", "))
	}
	dir, err := os.MkdirTemp("", "headroom-e2e-browser-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--proxy-server=127.0.0.1:9", "--remote-debugging-port=0", "--remote-allow-origins=http://127.0.0.1",
		"--user-data-dir="+dir, fmt.Sprintf("--window-size=%d,900", width), "about:blank")
	cmd.WaitDelay = 5 * time.Second
	// Its helpers write into dir until they end: all of the group is ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		for range 20 { // a helper that is just being killed may still write
			if os.RemoveAll(dir) == nil {
				return
			}
		}
		t.Logf("left behind: %s", dir)
	})
	port := debuggingPort(t, dir)
	ws, err := websocket.Dial(pageURL(t, port), "", "http://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ws.MaxPayloadBytes = 64 << 20
	t.Cleanup(func() { ws.Close() })
	b := &tab{ws: ws}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(t, domain+".enable", nil)
	}
	return b
}

// startTime bounds how long a browser takes to come up on a busy machine.
const startTime = 60 * time.Second

// poll calls f until it succeeds.
func poll(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var err error
	for end := time.Now().Add(startTime); time.Now().Before(end); <-tick.C {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func debuggingPort(t *testing.T, dir string) (port string) {
	t.Helper()
	poll(t, "no debugging port", func() error {
		b, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if err != nil {
			return err
		}
		var ok bool
		if port, _, ok = strings.Cut(string(b), "\n"); !ok {
			return errors.New("half written")
		}
		return nil
	})
	return port
}

// pageURL returns where the browser's first page listens.
func pageURL(t *testing.T, port string) (url string) {
	t.Helper()
	poll(t, "no page", func() error {
		r, err := http.Get("http://127.0.0.1:" + port + "/json/list")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		var list []struct{ Type, WebSocketDebuggerURL string }
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		for _, p := range list {
			if p.Type == "page" {
				url = p.WebSocketDebuggerURL
				return nil
			}
		}
		return errors.New("none listed")
	})
	return url
}

// read takes the next message and keeps it when it is an event.
func (b *tab) read(t *testing.T) reply {
	t.Helper()
	var r reply
	if err := b.ws.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		t.Fatal(err)
	}
	if err := websocket.JSON.Receive(b.ws, &r); err != nil {
		t.Fatal(err)
	}
	if r.Method != "" {
		b.events = append(b.events, r.event)
	}
	return r
}

// call sends a command and returns its result.
func (b *tab) call(t *testing.T, method string, params any) json.RawMessage {
	t.Helper()
	b.id++
	if params == nil {
		params = struct{}{}
	}
	if err := websocket.JSON.Send(b.ws, map[string]any{"id": b.id, "method": method, "params": params}); err != nil {
		t.Fatal(err)
	}
	for {
		r := b.read(t)
		if r.ID != b.id {
			continue
		}
		if r.Error != nil {
			t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	}
}

// navigate opens a file and waits until it is loaded.
func (b *tab) navigate(t *testing.T, path string) {
	t.Helper()
	b.events = nil
	b.call(t, "Page.navigate", map[string]any{"url": "file://" + path})
	for !b.saw("Page.loadEventFired") {
		b.read(t)
	}
}

func (b *tab) saw(method string) bool {
	for _, e := range b.events {
		if e.Method == method {
			return true
		}
	}
	return false
}

// eval evaluates an expression, waiting for promises, and decodes its value.
func (b *tab) eval(t *testing.T, expression string, into any) {
	t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	raw := b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if r.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, r.ExceptionDetails)
	}
	if err := json.Unmarshal(r.Result.Value, into); err != nil {
		t.Fatalf("%s = %s: %v", expression, r.Result.Value, err)
	}
}

// mouse sends a mouse event at a place of the window.
func (b *tab) mouse(t *testing.T, kind string, x, y float64) {
	t.Helper()
	b.call(t, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1})
}

// clean fails the test for errors of the console and for any request other
// than that for the page itself.
func (b *tab) clean(t *testing.T, path string) {
	t.Helper()
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.exceptionThrown":
			t.Errorf("the page throws: %s", e.Params)
		case "Log.entryAdded":
			if strings.Contains(string(e.Params), `"level":"error"`) {
				t.Errorf("the console says: %s", e.Params)
			}
		case "Runtime.consoleAPICalled":
			t.Errorf("the page writes to the console: %s", e.Params)
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if err := json.Unmarshal(e.Params, &p); err != nil || p.Request.URL != "file://"+path {
				t.Errorf("a request leaves the page: %s %v", p.Request.URL, err)
			}
		}
	}
}
