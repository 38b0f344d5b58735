//go:build planted

package planted

var planted Bug // written before the simulation begins, by Plant

// Is reports whether bug b is planted.
func Is(b Bug) bool { return planted == b }

// Plant switches b on and every other off. No simulation may be running.
func Plant(b Bug) { planted = b }
