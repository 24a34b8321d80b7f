// Command bench compares Sallyport with nginx, HAProxy and Caddy at the same
// job on the same machine; scripts/bench.sh builds and starts it.
//
// # Parts
//
//	server      a program under test; nginx.go, haproxy.go, caddy.go and
//	            sallyport.go say how each is set up
//	instance    one that runs, on the token as it is or on the slow one
//	backends    nginx for answers, and the sink for bodies and WebSockets
//	token       a SoftHSM token, and the same keys as files for those that
//	            cannot use one
//	inspection  shows that all servers do the same work, before any is measured
//	workload    one thing that is measured, and its measures
//	load        what is thrown at a server: wrk, h2load, or goroutines of ours
//	line        a relay that holds every byte back, as 50 ms of distance do
//	burst       clients that come in one moment
//	record      the samples, as results.json has them
//	report      report.md and the charts
//
// # How a sample is taken
//
// A load runs until it is told to stop. When it has warmed up, the CPU time of
// all processes of the server and the work done so far are read; after the
// window, again. So neither the start of a load nor what it takes itself counts,
// and a machine that is busy with other things slows a sample down without
// changing its CPU time by much. Work is counted by the backend or by the load,
// never guessed from what a tool prints. A sample during which anything failed
// has no values, only the reason.
//
// What is far away is timed instead, over a line, where CPU time says nothing: there
// a protocol's round trips and windows decide. So are bursts, of which a server may also
// refuse some.
//
// All servers take each workload in turn, round by round, and ratios are made
// within a round: what changes on the machine from one minute to the next meets
// all of them.
package main
