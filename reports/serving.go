package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"headroom/reports/diff"
	"headroom/reports/page"
	"headroom/reports/serve"
)

// serveDir shows the runs below dir until the program is told to stop.
func serveDir(dir string, o options, out io.Writer) error {
	if _, port, err := net.SplitHostPort(o.listen); err != nil || !isPort(port) {
		return fmt.Errorf("%w: --listen %q: want ADDRESS:PORT, such as 127.0.0.1:8321", errUsage, o.listen)
	}
	if !serve.Loopback(o.listen) {
		return fmt.Errorf("%w: --listen %s is not on loopback: reports name machines and commands, so they are served to this machine only (ssh -L takes them elsewhere)", errUsage, o.listen)
	}
	s, err := serve.New(serve.Config{Dir: dir, Render: document, Compare: compareDocument})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--listen %s is taken: give another port, or 127.0.0.1:0 for a free one", o.listen)
	} else if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	fmt.Fprintf(out, "http://%s/ shows the runs below %s, until Ctrl-C\n", l.Addr(), dir)
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = web.Shutdown(wait)
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

// compareDocument compares folders for a page.
func compareDocument(dirs []string) (*page.Document, error) {
	runs, err := readRuns(dirs)
	if err != nil {
		return nil, err
	}
	r, err := diff.Compare(runs, diff.Options{Threshold: 0.05})
	if err != nil {
		return nil, err
	}
	return diff.Document(r, false), nil
}
