package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestTheJobsCommandLineIsOneThatParses: the manifest's arguments, with what
// Kubernetes and the reader fill in, are a command line of this program.
func TestTheJobsCommandLineIsOneThatParses(t *testing.T) {
	text, err := os.ReadFile("../hack/deploy/loadgen-job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var job struct {
		Spec struct {
			CompletionMode           string `yaml:"completionMode"`
			Completions, Parallelism int
			Template                 struct {
				Spec struct {
					Containers []struct {
						Command, Args []string
						Env           []struct{ Name string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	c := job.Spec.Template.Spec.Containers[0]
	args := append([]string{}, c.Command...)
	for _, a := range c.Args {
		a = strings.ReplaceAll(strings.ReplaceAll(a, "$(SHARD)", "7"), "START_AT", "2026-11-22T22:00:00Z")
		args = append(args, a)
	}
	o, err := runCommand.parse(args, io.Discard)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if o.shard == nil || o.shard.Of != job.Spec.Completions || job.Spec.Parallelism != job.Spec.Completions || job.Spec.CompletionMode != "Indexed" ||
		c.Env[0].Name != "SHARD" || o.out != "/runs/7" {
		t.Errorf("shard %+v of %d completions, out %s", o.shard, job.Spec.Completions, o.out)
	}
}
