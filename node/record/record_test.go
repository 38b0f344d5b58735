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
