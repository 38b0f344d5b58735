package capacity

import (
	"encoding/json"
	"strings"
	"testing"
)

const card = `{"when":"2026-11-23T00:00:00Z","host":"h","verdict":"confirmed","text":"5 nodes held and 4 failed in the state that binds (nodes_lost_migrating, index_memory)",
 "miniature":{"nodes":5,"ops_per_s":500,"records":695809,"value_size":"100B","rates_divided_by":100,"bytes_divided_by":1290,"emulates":"memory: each node may use 76 MiB"},
 "trials":[{"nodes":5,"killed":1,"holds":true,"why":"holds","run":"r/nodes-5"},{"nodes":4,"killed":1,"holds":false,"why":"fails: <b>89 %</b>","run":"r/nodes-4"}],
 "compared":[{"name":"bytes of the fullest node","unit":"bytes","predicted":50680598,"measured":50788496,"error":-0.0021},
  {"name":"full redundancy","unit":"s","predicted":2.03,"measured":null,"error":null}]}`

func TestAVerifiedPlanShowsPredictedBesideMeasured(t *testing.T) {
	p := load(t)
	if err := json.Unmarshal([]byte(card), &p.Card); err != nil {
		t.Fatal(err)
	}
	html, md := render(t, p)
	for _, want := range []string{"CONFIRMED: 5 nodes held and 4 failed in the state", "binds (nodes lost migrating, index memory)", "500 operations a second (the plan's divided by 100)", "695,809 records of 100B (divided by 1,290)", "48.3 MiB | 48.4 MiB | −0.2 %",
		"| full redundancy | 2.03 s | not recorded | not recorded |"} {
		if !strings.Contains(md, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(md, "was not verified") || strings.Contains(html, "<b>89") {
		t.Error("it says that nothing was verified, or lets a trial's text through as HTML")
	}
	p.Card.ByArithmetic = true
	if _, md := render(t, p); !strings.Contains(md, "by arithmetic, not run") {
		t.Error("a bound by a rule is not marked as arithmetic")
	}
}
