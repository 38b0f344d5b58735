package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"headroom/node/server"
)

// tell sends a command that changes something and prints the outcome.
func (a *askFlags) tell(command string, stdout io.Writer) error {
	var o server.Outcome
	if err := a.ask(command, &o); err != nil {
		return err
	}
	if o.Ask != "" { // another node has to do it
		a.addr, o = o.Ask, server.Outcome{}
		if err := a.ask(command, &o); err != nil {
			return err
		}
	}
	if o.Error != "" {
		return errors.New(o.Error)
	}
	if a.json {
		return json.NewEncoder(stdout).Encode(&o)
	}
	fmt.Fprintf(stdout, "%s %s\n", o.Node, o.Done)
	return nil
}

// waitPoll is how often --wait asks.
const waitPoll = 200 * time.Millisecond

// quiesce takes a node out of service without stopping it, or back in.
func quiesce(command string, args []string, stdout io.Writer) error {
	fs, a := askSet(command)
	wait := new(time.Duration)
	if command == server.AdminQuiesce {
		wait = fs.Duration("wait", 0, "how long to wait until the node may be stopped (exit 3 if it may not by then); 0: not at all")
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	if *wait < 0 {
		return fmt.Errorf("%w: --wait %v: want a duration, or 0", errUsage, *wait)
	}
	if err := a.tell(command, stdout); err != nil {
		return err
	}
	var s server.SafeToStop
	for end := time.Now().Add(*wait); *wait > 0; time.Sleep(waitPoll) {
		if err := a.ask(server.AdminSafeToStop, &s); err != nil {
			return err
		}
		if s.Safe {
			fmt.Fprintln(stdout, "safe to stop:", s.Reason)
			return nil
		}
		if time.Now().After(end) {
			fmt.Fprintf(stdout, "not safe to stop after %v: %s\n", *wait, s.Reason)
			return errNotMet
		}
	}
	return nil
}

// revive gives up the missing data of a namespace.
func revive(args []string, stdout io.Writer) error {
	fs, a := askSet("revive")
	name := fs.String("namespace", "", "`NAME` of the namespace; needed")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *name == "" {
		return fmt.Errorf("%w: revive gives up data for good: name the --namespace", errUsage)
	}
	return a.tell(server.AdminRevive+" "+*name, stdout)
}
