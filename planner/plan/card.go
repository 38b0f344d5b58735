package plan

// CardFormat is the format number of a verification card.
const CardFormat = "headroom-verification/1"

// Verdict is what a verification found.
type Verdict string

// The verdicts. Confirmed: n nodes held in the binding state and fewer failed
// in it, or what binds is a rule. Refuted: n failed, or fewer held although
// they should not by more than the model is uncertain. NotDistinguishable: n
// held, and whether fewer do cannot be told on this machine or lies inside the
// model's interval.
const (
	Confirmed          Verdict = "confirmed"
	Refuted            Verdict = "refuted"
	NotDistinguishable Verdict = "not distinguishable"
)

// Verification is the card of a plan that was run: predicted beside measured.
type Verification struct {
	Format  string  `json:"format"`
	When    string  `json:"when"` // RFC 3339
	Host    string  `json:"host"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"` // why, in words
	// ByArithmetic: the claim about fewer nodes follows from a rule and was
	// not run.
	ByArithmetic bool       `json:"by_arithmetic"`
	Binding      *Binding   `json:"binding"`
	Miniature    Miniature  `json:"miniature"`
	Trials       []Trial    `json:"trials"`
	Compared     []Compared `json:"compared"`
}

// Miniature is the plan's cluster as it was run here.
type Miniature struct {
	Nodes     int     `json:"nodes"`
	OpsPerSec float64 `json:"ops_per_s"`
	Records   int64   `json:"records"`
	ValueSize string  `json:"value_size"`
	// Rates and Bytes are how many times less than planned: 1 is real size.
	Rates float64 `json:"rates_divided_by"`
	Bytes float64 `json:"bytes_divided_by"`
	// Dilation is how many times slower than the real ones emulated devices
	// ran, 0 without any: every time of a trial is as many times longer.
	Dilation float64 `json:"dilation,omitempty"`
	// Emulates says what made the resource that binds scarce.
	Emulates string `json:"emulates"`
}

// Trial is one cluster that was started and lost nodes.
type Trial struct {
	Nodes  int    `json:"nodes"`
	Killed int    `json:"killed"`
	Holds  bool   `json:"holds"`
	Why    string `json:"why"`
	Run    string `json:"run"` // its run folder
}

// Compared is a figure predicted and measured.
type Compared struct {
	Name      string   `json:"name"`
	Unit      string   `json:"unit"`
	Predicted *float64 `json:"predicted"`
	Measured  *float64 `json:"measured"`
	Error     *float64 `json:"error"` // of the prediction, relative to what was measured
}
