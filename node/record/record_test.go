package record

import "testing"

func TestAVersionIsMarkedIfWhatItReplacesMayLiveLonger(t *testing.T) {
	f := func(old Meta, expiry uint32, want bool) {
		t.Helper()
		m := Meta{Expiry: expiry}
		if m.Follow(&old); m.Shortens != want {
			t.Errorf("a version that expires at %d after %+v is marked %v, want %v", expiry, old, m.Shortens, want)
		}
	}
	f(Meta{}, 100, true)                            // for ever
	f(Meta{}, 0, false)                             //
	f(Meta{Expiry: 100}, 100, false)                // the same, longer, shorter
	f(Meta{Expiry: 100}, 101, false)                //
	f(Meta{Expiry: 100}, 99, true)                  //
	f(Meta{Expiry: 100}, 0, false)                  //
	f(Meta{Expiry: 100, Shortens: true}, 200, true) // something before it may live longer than both
	f(Meta{Expiry: 100, Shortens: true}, 0, false)  //
	f(Meta{Tombstone: true}, 100, true)             // and before a delete, too
	f(Meta{Tombstone: true}, 0, false)              //

	dead := Meta{Tombstone: true}
	if dead.Follow(&Meta{}); dead.Shortens {
		t.Error("a tombstone is marked")
	}
	again := Meta{Expiry: 100, Shortens: true} // written again in another View, after something else than at first
	if again.Follow(&Meta{Expiry: 50}); !again.Shortens {
		t.Error("a mark was taken back")
	}
}

func TestTheWinnerOfAConflictIsLiftedToWinAndToBeMarked(t *testing.T) {
	f := func(m Meta, loser uint32, conflict bool, want uint32) {
		t.Helper()
		if got := m.LiftFor(Version{Regime: loser}, conflict, 9); got != want {
			t.Errorf("%+v against regime %d, a conflict: %v: lifted to %d, want %d", m, loser, conflict, got, want)
		}
	}
	mortal := Meta{Version: Version{Regime: 5}, Expiry: 100}
	f(mortal, 7, true, 7)
	f(mortal, 7, false, 7)
	f(mortal, 5, true, 6) // it wins by its stamp, and what lost may live longer
	f(mortal, 3, true, 6)
	f(mortal, 3, false, 5)
	f(Meta{Version: Version{Regime: 5}, Expiry: 100, Shortens: true}, 3, true, 5)
	f(Meta{Version: Version{Regime: 5}}, 3, true, 5)
	f(Meta{Version: Version{Regime: 5}, Tombstone: true}, 3, true, 5)
	f(Meta{Version: Version{Regime: 9}, Expiry: 100}, 3, true, 9) // no regime is beyond the View's
}

func TestALiftedVersionTellsItsOwnView(t *testing.T) {
	f := func(own uint32, want uint32, lifted uint8, regimes ...uint32) {
		t.Helper()
		m := Meta{Version: Version{Regime: own, Stamp: 5, Node: 2}}
		for _, r := range regimes {
			m.Lift(r)
		}
		if v := m.Version; v.Own() != want || v.Lifted != lifted || !v.Valid() {
			t.Errorf("View %d lifted to %v: %+v, of View %d", own, regimes, v, v.Own())
		}
	}
	f(3, 3, 0)
	f(3, 3, 0, 2)
	f(3, 3, 4, 7)
	f(3, 3, 254, 7, 100, 257)
	f(3, 258, LiftedFar, 258) // then it is as if it had been written there
	f(3, 900, LiftedFar, 258, 900)
	f(3, 900, LiftedFar, 900)
	for _, v := range []Version{{Regime: 3, Lifted: 4}, {Lifted: 1}} {
		if v.Valid() {
			t.Errorf("%+v is valid", v)
		}
	}
}

func TestALiftedVersionIsMarkedWhateverItWasBefore(t *testing.T) {
	for _, m := range []Meta{{Expiry: 100}, {Expiry: 100, Shortens: true}} {
		if m.Lift(7); !m.Shortens || m.Version.Regime != 7 {
			t.Errorf("lifted: %+v", m)
		}
	}
	for _, m := range []Meta{{}, {Tombstone: true}, {Expiry: 100, Version: Version{Regime: 8}}} {
		if m.Lift(7); m.Shortens {
			t.Errorf("%+v is marked", m)
		}
	}
}
