package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"headroom/node/server"
)

// defaultDataDir is where a node that is not told otherwise keeps itself.
const defaultDataDir = "headroom-data"

// run runs one node until SIGTERM or SIGINT, or until it cannot go on.
func run(args []string, stdout, stderr io.Writer) error {
	cfg, level, err := configure("run", args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	cfg.Log = log
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// Records live outside the Go heap, so the heap is small, and a small
	// heap is collected twenty times a second under load (measured): let it
	// grow to some 100 MB first.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	n, err := server.Start(ctx, cfg)
	if errors.Is(err, server.ErrConfig) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%v listens on %s, http on %s\n", n.ID(), n.Addr(), n.HTTPAddr())
	select {
	case err := <-n.Failed():
		n.Close()
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	log.Info("told to stop; handing partitions over")
	n.Leave(context.Background())
	return nil
}

// check reads a configuration as run does and starts nothing.
func check(args []string, stdout io.Writer) error {
	cfg, _, err := configure("check", args)
	if err != nil {
		return err
	}
	if err := server.Check(cfg); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	_, err = fmt.Fprintln(stdout, "the configuration is right")
	return err
}

// configure reads the file, if any, and then the flags, which win.
func configure(command string, args []string) (server.Config, slog.Level, error) {
	var cfg server.Config
	level := slog.LevelInfo
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	config := fs.String("config", "", "YAML file with the same keys as these flags, and namespaces: as a list")
	logLevel := fs.String("log-level", "info", "debug, info, warn or error")
	for _, s := range settings {
		fs.Var(&flagText{kind: s.kind}, s.key, s.help)
	}
	fs.Lookup("insecure").NoOptDefVal = "true"
	for _, s := range namespaceSettings {
		fs.Var(&flagText{kind: s.kind}, s.key, s.help)
	}
	if err := parse(fs, args); err != nil {
		return cfg, level, err
	}
	if err := level.UnmarshalText([]byte(*logLevel)); err != nil {
		return cfg, level, fmt.Errorf("%w: --log-level %q: want debug, info, warn or error", errUsage, *logLevel)
	}
	if *config != "" {
		if err := readFile(*config, &cfg); err != nil {
			return cfg, level, fmt.Errorf("%w: %v", errUsage, err)
		}
	}
	if err := applyFlags(fs, &cfg); err != nil {
		return cfg, level, err
	}
	if cfg.DataDir == "" {
		cfg.DataDir = defaultDataDir
	}
	return cfg, level, nil
}

// flagText is a flag's value as given, checked when it is applied.
type flagText struct{ text, kind string }

// String implements pflag.Value.
func (f *flagText) String() string { return f.text }

// Set implements pflag.Value.
func (f *flagText) Set(s string) error {
	if f.text != "" && strings.HasSuffix(f.kind, "…") {
		s = f.text + "," + s // a list may be given in several flags
	}
	f.text = s
	return nil
}

// Type implements pflag.Value: what --help shows for the value.
func (f *flagText) Type() string { return f.kind }

func applyFlags(fs *pflag.FlagSet, cfg *server.Config) error {
	if fs.Changed("seed") {
		cfg.Seeds = nil
	}
	var err error
	fs.Visit(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "log-level" || err != nil {
			return
		}
		e := setKey(cfg, f.Name, f.Value.String())
		if isNamespaceKey(f.Name) {
			if len(cfg.Namespaces) == 0 {
				cfg.Namespaces = []server.NamespaceConfig{{Name: "default"}}
			}
			for i := range cfg.Namespaces {
				e = setNamespaceKey(&cfg.Namespaces[i], f.Name, f.Value.String())
			}
		}
		if e != nil {
			err = fmt.Errorf("%w: --%s: %v", errUsage, f.Name, e)
		}
	})
	return err
}

func isNamespaceKey(key string) bool {
	for _, s := range namespaceSettings {
		if s.key == key {
			return true
		}
	}
	return false
}
