package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"headroom/reports/capacity"
	"headroom/reports/page"
	"headroom/reports/runs"
	"headroom/reports/stats"
	"headroom/reports/studies"
)

// document reads what path names and returns its report: the folder of a run
// or a study, or a plan.
func document(path string) (*page.Document, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		p, err := capacity.Read(path)
		if err != nil {
			return nil, err
		}
		return capacity.Document(p), nil
	}
	if d, err := studies.Document(path); !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	f, err := facts(path)
	if err != nil {
		return nil, err
	}
	return runs.Document(f), nil
}

// facts reads the run folder dir.
func facts(dir string) (*stats.Facts, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; headroom-loadgen run --out makes a run folder", dir)
	}
	run, problems, err := stats.Load(dir)
	if err != nil {
		return nil, err
	}
	return stats.Derive(run, problems), nil
}

// has reports whether dir holds the file name.
func has(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}
