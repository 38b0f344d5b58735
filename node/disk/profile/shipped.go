package profile

import (
	"embed"
	"fmt"
	"os"
	"slices"
	"strings"
)

//go:embed shipped/*.yaml
var shipped embed.FS

// Names lists the shipped profiles.
func Names() []string {
	entries, err := shipped.ReadDir("shipped")
	if err != nil {
		panic("profile: embedded files cannot be listed: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load returns a shipped profile by its name, or reads a file: a reference
// that ends in .yaml or holds a slash is a file.
func Load(ref string) (*Profile, error) {
	if slices.Contains(Names(), ref) {
		text, err := shipped.ReadFile("shipped/" + ref + ".yaml")
		if err != nil {
			panic("profile: embedded file cannot be read: " + err.Error())
		}
		return Parse(ref+".yaml", text)
	}
	if !strings.HasSuffix(ref, ".yaml") && !strings.Contains(ref, "/") {
		return nil, fmt.Errorf("no device profile %q: want one of %s, or a file that ends in .yaml", ref, strings.Join(Names(), ", "))
	}
	info, err := os.Stat(ref)
	if err != nil {
		return nil, fmt.Errorf("device profile: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > int64(kind.Limit) {
		return nil, fmt.Errorf("device profile %s: want a file of at most %d bytes", ref, kind.Limit)
	}
	text, err := os.ReadFile(ref)
	if err != nil {
		return nil, fmt.Errorf("device profile: %w", err)
	}
	return Parse(ref, text)
}
