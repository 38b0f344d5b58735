// Package model holds what is known about how the cluster performs, and the
// arithmetic to reason with it: uncertain numbers (Triple), measured
// distributions (Dist), the Model that runs are fitted to and the priors that
// stand in for one, bytes per record, queues and their simulation, the
// scalability law, defragmentation, durability. It plans nothing.
//
// The invariant to know: a figure is either measured or says that it is a
// prior (Model.Prior); nothing turns the one into the other.
//
// Start reading at Model.
package model
