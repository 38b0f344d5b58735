package convert

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"headroom/workloads"
)

// every converts text and checks that each of its lines with a setting is in
// want (as "key" when exact) or in a note.
func every(t *testing.T, name, text string, exact ...string) (*workloads.Workload, string) {
	t.Helper()
	w, notes, err := File(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, n := range notes {
		fmt.Fprintln(&all, n)
	}
	for i, line := range strings.Split(text, "\n") {
		key := regexp.MustCompile(`^[- ]*([a-z][a-z.-]*) *[=:]`).FindStringSubmatch(line)
		if key == nil {
			continue
		}
		known := false
		for _, e := range exact {
			known = known || e == key[1]
		}
		if !known && !strings.Contains(all.String(), fmt.Sprintf("line %d, %s: ", i+1, key[1])) {
			t.Errorf("line %d, %s: neither converted nor named:\n%s", i+1, line, all.String())
		}
	}
	if again, err := workloads.Parse("again", YAML(name, w, notes)); err != nil || again.SHA256() != w.SHA256() {
		t.Errorf("the YAML does not read back: %v\n%s", err, YAML(name, w, notes))
	}
	return w, all.String()
}

func TestYCSBsOwnWorkloadAIsConverted(t *testing.T) {
	w, notes := every(t, "workloads/workloada", `# Yahoo! Cloud System Benchmark
recordcount=1000
operationcount=1000
workload=site.ycsb.workloads.CoreWorkload

readallfields=true

readproportion=0.5
updateproportion=0.5
scanproportion=0
insertproportion=0

requestdistribution=zipfian
`, "recordcount", "workload", "readallfields", "readproportion", "updateproportion", "scanproportion", "insertproportion", "requestdistribution")
	if w.Records != 1000 || w.Mix[workloads.Get] != 50 || w.Mix[workloads.Update] != 50 || w.Keys.Distribution != "ycsb-zipfian" ||
		w.ValueSize.Max != 1000 || w.Name != "workloada" {
		t.Errorf("%s", w.YAML())
	}
	if !strings.Contains(notes, "the 10 fields of 100 bytes are one value of 1000B") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestEveryPropertyIsConvertedOrNamed(t *testing.T) {
	w, notes := every(t, "w.properties", `recordcount = 5000
! a comment
fieldcount: 1
fieldlength 400
minfieldlength=100
fieldlengthdistribution=uniform
readproportion=7
readmodifywriteproportion=2
scanproportion=1
updateproportion=\
  0
requestdistribution=exponential
exponential.percentile=90
exponential.frac=0.5
maxscanlength=50
minscanlength=5
scanlengthdistribution=zipfian
target=2000
threadcount=16
maxexecutiontime=60
hdrhistogram.percentiles=95,99
dataintegrity=true
insertorder=ordered
table=usertable
readallfields=false
hotspotdatafraction=0.1
batch.size=5
whatever=1
`, "recordcount", "minfieldlength", "readproportion", "updateproportion", "requestdistribution", "exponential.percentile", "exponential.frac",
		"fieldlength", "maxscanlength", "fieldlengthdistribution")
	want := "get:70,"
	if got := string(w.YAML()); w.Mix[workloads.Get] != 70 || w.Mix[workloads.ReadModifyWrite] != 20 || w.Mix[workloads.Scan] != 10 ||
		w.ValueSize.String() != "uniform(100B..400B)" || w.Keys.Percentile != 90 || w.Keys.Fraction != 0.5 || w.ScanLength != 50 {
		t.Errorf("want %s\n%s", want, got)
	}
	for _, want := range []string{"use: --rate 2000/s", "use: --closed 16", "use: --duration 60s", "line 28, whatever: not converted: no property of YCSB"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
}

func TestAsbenchStagesAreConverted(t *testing.T) {
	w, notes := every(t, "stages.yml", `- stage: 1
  duration: 1
  desc: "load"
  workload: I
  key-end: 200000
  object-spec: I8,B92
- stage: 2
  duration: 30
  desc: "read mostly"
  workload: RU,95
  tps: 5000
- stage: 3
  duration: 20
  workload: RUD,50,30
  pause: 9
  batch-read-size: 10
  expiration-time: 3600
- stage: 4
  workload: RUF,50,30,100,20
  key-end: 100
  async: true
  udf: {module: m, function: f}
  read-bins: 1,2
`, "stage", "desc", "workload", "key-end", "object-spec", "duration", "batch-read-size", "expiration-time")
	if w.Records != 200_000 || w.ValueSize.Max != 100 || w.BatchSize != 10 || w.TTL.Hours() != 1 || len(w.Stages) != 4 {
		t.Fatalf("%s\n%s", w.YAML(), notes)
	}
	read, pause, batches, udf := w.Stages[0], w.Stages[1], w.Stages[2], w.Stages[3]
	if read.Rate != 5000 || read.Mix[workloads.Get] != 95 || read.Duration.Seconds() != 30 || pause.Duration.Seconds() != 5 || pause.Factor != 0 ||
		batches.Mix[workloads.BatchGet] != 50 || batches.Mix[workloads.Delete] != 20 || udf.Mix[workloads.Operate] != 20 || udf.Factor != 1 {
		t.Errorf("stages %+v", w.Stages)
	}
	for _, want := range []string{"line 20, key-end: not converted: all stages have the keys", "line 22, udf: not converted", "(20 % of whole records)",
		"a random pause of 1 to 9 s is one of 5.0 s"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
}

func TestObjectSpecificationsHaveSizes(t *testing.T) {
	for spec, want := range map[string]int{"I4": 4, "B1400": 1400, "3*I2,S10": 16, "D,b": 9, "I": 4} {
		a := &asbench{w: &workloads.Workload{}}
		if !a.setSize(spec) || int(a.w.ValueSize.Max) != want {
			t.Errorf("%s: %v, want %d bytes", spec, a.w.ValueSize, want)
		}
	}
	if a := (&asbench{w: &workloads.Workload{}}); a.setSize("[3*S10],{5*I1:B4}") {
		t.Error("a list is said to be understood")
	}
}

func TestWhatMakesNoSenseIsAnErrorWithItsLine(t *testing.T) {
	f := func(name, text, want string) {
		t.Helper()
		if _, _, err := File(name, []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: %v, want %q", name, text, err, want)
		}
	}
	f("a.properties", "recordcount=ten\n", `a.properties:1: recordcount: "ten" is not a number`)
	f("a.properties", "\nrequestdistribution=gauss\n", `a.properties:2: requestdistribution: "gauss" is none of`)
	f("a.properties", "nonsense\n", "a.properties:1:")
	f("a.properties", "workload=site.ycsb.workloads.TimeSeriesWorkload\n", "only CoreWorkload")
	f("a.properties", "readproportion=0\nupdateproportion=0\n", "sum to 0 percent")
	f("a.txt", "hello\n", "want a .properties file")
	f("a.yaml", "version: 1\n", "a workload of Headroom already")
	f("a.yaml", "stage: 1\n", "want a list of stages")
	f("a.yaml", "- stage: 1\n  workload: XX,5\n", `a.yaml:1: workload: "XX,5" is none of`)
	f("a.yaml", "- stage: 1\n  workload: RU,500\n", "not a percentage")
	f("a.yaml", "- stage: 1\n  duration: x\n  workload: RU,50\n", "duration:")
	f("a.yaml", "- stage: 1\n  workload: I\n", "nothing is left to measure")
	f("a.yaml", "- [x\n", "a.yaml")
}

func FuzzFileNeverPanics(f *testing.F) {
	f.Add("a.properties", "a=b\\\nc")
	f.Add("a.yaml", "- stage: 1\n  workload: RU,50\n  object-spec: 3*I2\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		w, notes, err := File(name, []byte(text))
		if err != nil {
			return
		}
		if _, err := workloads.Parse("again", YAML(name, w, notes)); err != nil {
			t.Errorf("%v\n%s", err, YAML(name, w, notes))
		}
	})
}
