// Package examples holds requirements that people start from: `headroom-planner
// plan NAME` takes them by name, and `example NAME` prints one to copy. It
// parses nothing.
package examples

import (
	"embed"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the examples.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("examples: embedded files cannot be listed: " + err.Error())
	}
	var list []string
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return list
}

// Text returns the example of that name, nil if there is none.
func Text(name string) []byte {
	b, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return nil
	}
	return b
}
