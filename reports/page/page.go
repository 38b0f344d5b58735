package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"regexp"

	"headroom/reports/chart"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

//go:embed script.js
var scriptJS string

// Windows are the histograms that a page carries; see stats.Windows, whose
// groups these are in base64.
type Windows struct {
	Groups []WindowGroup `json:"groups"`
}

// WindowGroup is one operation's histograms.
type WindowGroup struct {
	Name string `json:"name"`
	Step int    `json:"step"`
	Data string `json:"data"`
}

// AddWindows appends histograms that a page carries.
func (d *Document) AddWindows(name string, step int, data []byte) {
	if d.Windows == nil {
		d.Windows = &Windows{}
	}
	d.Windows.Groups = append(d.Windows.Groups, WindowGroup{name, step, base64.StdEncoding.EncodeToString(data)})
}

// view is what the template sees.
type view struct {
	Doc    *Document
	Style  template.CSS
	Script template.JS
	Policy string
}

// HTML writes a document as one file.
func HTML(w io.Writer, d *Document) error {
	t := template.New("page")
	t.Funcs(template.FuncMap{"nb": unbroken, "level": level,
		"svg": func(f chart.Figure) template.HTML { return template.HTML(f.SVG) }, //nolint:gosec // escaped by chart
		"block_": func(b Block) (template.HTML, error) {
			var out bytes.Buffer
			err := t.ExecuteTemplate(&out, b.name(), b)
			return template.HTML(out.String()), err //nolint:gosec // a template's own output
		}})
	if _, err := t.Parse(pageHTML); err != nil {
		return fmt.Errorf("page template: %w", err)
	}
	v := view{Doc: d, Style: template.CSS(Style()), Policy: policy("")} //nolint:gosec // both are our own text
	if d.interactive() {
		v.Script, v.Policy = template.JS(scriptJS), policy(scriptJS) //nolint:gosec // our own text
	}
	return t.Execute(w, v)
}

// interactive reports whether a script has anything to do.
func (d *Document) interactive() bool {
	if d.Windows != nil {
		return true
	}
	for _, f := range d.Figures() {
		if f.Hover != nil {
			return true
		}
	}
	return false
}

// policy allows the page its own style and this one script, and nothing from
// anywhere.
func policy(script string) string {
	p := "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
	if script == "" {
		return p
	}
	sum := sha256.Sum256([]byte(script))
	return p + "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func level(l string) string {
	switch l {
	case "fail":
		return "fail"
	case "warn":
		return "warning"
	default:
		return "note"
	}
}

// unit matches a number and the unit after it.
var unit = regexp.MustCompile(`([0-9∞]) (%|µs|ms|s|min|h|B|[KMGTP]iB|ops/s)([^\pL]|$)`)

// unbroken keeps numbers and their units on one line.
func unbroken(v any) string {
	return unit.ReplaceAllString(fmt.Sprint(v), "$1\u00a0$2$3")
}

// Style returns the style sheet of every page.
func Style() string { return chart.CSS() + styleCSS }
