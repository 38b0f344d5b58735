package chart

import (
	"image/color"
	"math"
	"slices"
	"testing"
)

// contrast is WCAG 2.2's ratio of two colours, 1 to 21.
func contrast(a, b color.NRGBA) float64 {
	lum := func(c color.NRGBA) float64 {
		f := func(v uint8) float64 {
			x := float64(v) / 255
			if x <= 0.04045 {
				return x / 12.92
			}
			return math.Pow((x+0.055)/1.055, 2.4)
		}
		return 0.2126*f(c.R) + 0.7152*f(c.G) + 0.0722*f(c.B)
	}
	x, y := lum(a)+0.05, lum(b)+0.05
	return max(x, y) / min(x, y)
}

// readable fails where text in one ink on another has less than 4.5:1.
func readable(t *testing.T, ink, ground Ink) {
	t.Helper()
	if r := contrast(ink.Light, ground.Light); r < 4.5 {
		t.Errorf("%s on %s, light: contrast %.2f, want 4.5", ink.Name, ground.Name, r)
	}
	if r := contrast(ink.Dark, ground.Dark); r < 4.5 {
		t.Errorf("%s on %s, dark: contrast %.2f, want 4.5", ink.Name, ground.Name, r)
	}
}

func TestInksAreReadableOnBothPages(t *testing.T) {
	for _, i := range append([]Ink{Text, Muted, Grey}, Lines...) {
		readable(t, i, Paper)
	}
	for _, wash := range []Ink{BlueWash, GreenWash, RedWash, DownWash, AmberWash} {
		readable(t, Text, wash)
	}
	for _, i := range []Ink{Muted, Blue, Green, Red, Amber} { // labels of curves and bands that cross a time with a node down
		readable(t, i, DownWash)
	}
}

func TestEveryShadeOfAMatrixCarriesReadableText(t *testing.T) {
	var seen []string
	for v := 0.0; v < 2; v += 0.01 {
		ground, ink := shade(v)
		if !slices.Contains(seen, ground.Name) {
			seen = append(seen, ground.Name)
		}
		readable(t, ink, ground)
	}
	if len(seen) < 6 {
		t.Errorf("only %d shades: %v", len(seen), seen)
	}
}

func TestStepsOfHeatDifferInLightness(t *testing.T) {
	for i := range Heats[1:] {
		if r := contrast(Heats[i].Light, Heats[i+1].Light); r < 1.15 {
			t.Errorf("light steps %d and %d: %.2f", i, i+1, r)
		}
		if r := contrast(Heats[i].Dark, Heats[i+1].Dark); r < 1.15 {
			t.Errorf("dark steps %d and %d: %.2f", i, i+1, r)
		}
	}
}
