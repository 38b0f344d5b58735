// Package planted names bugs that a build with the tag "planted" can switch on
// one at a time, each the breach of one rule of the protocol, so that a test
// can show that the simulator finds it. It owns no rule. Without the tag Is is
// constantly false, and the compiler removes each branch that asks.
//
// The invariant to know: a build without the tag behaves as if this package
// did not exist. Start reading at Rules.
package planted

// Bug is one of the constants below; zero is none.
type Bug uint8

// The bugs.
const (
	CommitBeforeFence Bug = iota + 1
	IntegerMajority
	StaleCommit
	AnswersWhileFrozen
	LowerBallotAccepted
	CounterReused
	PromiseNotPersisted
	OldIncarnationIsMember
	CommitNotResent
	RestartUnnoticed
	LeaseCountsFromReceipt
	LeaseAcrossViews
	FrozenGrantsLeases
	RefusedPortBelievedAlone
	OldNewsOfSelfBelieved
	AckBeforeReplica
	OldMapNotFenced
	DuplicatesNotResolved
	StampNotLater
	AdoptedReplacesNewer
	WritesNotRunAgain
	TombstoneForgotten
	EqualVersionsOnBothSides
	AbsorbedNotFilled
	FillOutOfOrder
	FullTooSoon
	DrainSkipped
	DroppedBeforeAllDone
	EstablishedIgnored
	ConflictNotCounted
	OlderCopyServes
	MissingStartsFresh
	LackingCopyIsFull
	AbsenceForgotten
	UnsettledRead
	DoubtfulWriteDropped
	LoadedNotLookedAtAgain
	WaitingRoundGoesOn
	DroppedBeforeKept
	LeaseBeforeRead
	StaleWriteApplied
	TornIsDamage
	StoppedReplicaIgnored
	TombstoneReapedEarly
	DescentIgnored
	SurvivorsNotCompared
	RivalUnnoticed
	WritesInFlightNotTold
	RepresentedNotCompared
	MergeBegunNotTold
	ExpiredForgotten
	ShorteningNotInherited
	RefusedWriteForgotten
	LossCountedTwice
	SuccessorNotTold
	UnacknowledgedCounted
	DuplicateNotRemembered
	End // one more than the last
)

// Rules says for each bug which rule it breaks.
var Rules = [End]string{
	LeaseBeforeRead:          "the lease is looked at after the record was read",
	StaleWriteApplied:        "replicas fence writes by the key of their View",
	TornIsDamage:             "what a crash left torn is not damage",
	DescentIgnored:           "of versions written on two sides the later wins, and the other counts",
	CommitBeforeFence:        "a commit waits for the leases of those left out",
	IntegerMajority:          "every proposed member must accept, not half of them",
	StaleCommit:              "messages of an older View are inert",
	AnswersWhileFrozen:       "a member answers nothing between acceptance and commit",
	LowerBallotAccepted:      "a ballot below the promise is not accepted",
	CounterReused:            "counters of Views grow strictly",
	PromiseNotPersisted:      "promises outlast a restart",
	OldIncarnationIsMember:   "a member is a node in one incarnation",
	CommitNotResent:          "a member seen with an older View is sent the commit again",
	RestartUnnoticed:         "an unknown incarnation triggers a View change",
	LeaseCountsFromReceipt:   "a lease counts from the sending of the pulse that was echoed",
	LeaseAcrossViews:         "a lease needs the echo under the same View",
	FrozenGrantsLeases:       "a frozen member grants no lease",
	RefusedPortBelievedAlone: "a refused port needs a second member",
	OldNewsOfSelfBelieved:    "a member that has just said it does not hear this node may yet",
	AckBeforeReplica:         "a write is acknowledged when every replica has it",
	OldMapNotFenced:          "writes by the map of an older View are fenced",
	DuplicatesNotResolved:    "a miss on a master with unresolved duplicates resolves them first",
	StampNotLater:            "a write has a later stamp than what it replaces",
	AdoptedReplacesNewer:     "an adopted write does not replace a newer one",
	WritesNotRunAgain:        "writes in flight at a change run again before they are acknowledged",
	TombstoneForgotten:       "every replica keeps the tombstone of a delete",
	EqualVersionsOnBothSides: "the two sides of a split never write equal versions",
	AbsorbedNotFilled:        "replicas in sync get what was absorbed",
	FillOutOfOrder:           "a fill is applied in order",
	FullTooSoon:              "a copy is full when all of its fill has come",
	DrainSkipped:             "a partition is drained before its handover",
	DroppedBeforeAllDone:     "a copy is dropped only when redundancy is complete",
	EstablishedIgnored:       "a master's commit establishes its copies",
	ConflictNotCounted:       "every version that a merge discards is counted",
	OlderCopyServes:          "an older copy does not serve",
	MissingStartsFresh:       "only partitions that never had data start fresh",
	AbsenceForgotten:         "a node that was away for too long brings nothing back",
	UnsettledRead:            "a read does not tell of a write that may yet be lost",
	DoubtfulWriteDropped:     "a write in doubt goes on until all replicas have it",
	WaitingRoundGoesOn:       "a round that waits starts over with who has come",
	DroppedBeforeKept:        "a copy is dropped when the others are known to be full after a crash, too",
	SuccessorNotTold:         "a version that was written upon is not counted as lost",
	UnacknowledgedCounted:    "a version that was never acknowledged is not counted as lost",
	DuplicateNotRemembered:   "a duplicate is judged by what the ones before it knew",
	LossCountedTwice:         "of two nodes that count one loss one takes it back",
	SurvivorsNotCompared:     "copies that a lost master may have left unequal are compared",
	RivalUnnoticed:           "a process that is told that its id is in use serves nothing",
	WritesInFlightNotTold:    "copies are compared where a member that had writes in flight serves no more",
	RepresentedNotCompared:   "a merge takes in each copy of a side that may not be the same everywhere",
	MergeBegunNotTold:        "the descent of a copy tells of each merge that has begun to reach it",
	LackingCopyIsFull:        "a copy that lacks records is not full",
	TombstoneReapedEarly:     "a tombstone outlasts every absence after which copies are merged",
	ExpiredForgotten:         "a version that shortens a record's life leaves a tombstone when it expires",
	ShorteningNotInherited:   "what follows a version that shortens a life does so, too",
	RefusedWriteForgotten:    "copies of which one had no room for a write are compared when it has",
	StoppedReplicaIgnored:    "a write is refused where a replica takes none",
	LoadedNotLookedAtAgain:   "a record read from a device is used while it is the one that is there",
}
