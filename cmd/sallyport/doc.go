// Command sallyport terminates TLS with private keys that live in a PKCS#11
// token, and balances plain HTTP over the backends behind it.
//
// It is the one place that knows all four of configs, hsm, proxy and pool. A
// file is a verb (serve.go, check.go, doctor.go, status.go, token.go,
// token_rescan.go, demo.go, signer.go, csr.go, version.go); what verbs share stands
// beside them:
//
//	launch.go    the start, without PINs in the environment; slack.go lets its
//	             timers be late
//	run.go       the command line, errors and exit codes
//	build.go     turns a configs.Config into tokens, certificates, sockets and pools,
//	             gathering every problem by the path of its setting
//	await.go     waits for tokens that are late
//	descriptors.go  keeps open files for backends
//	logs.go      the two logs; logqueue.go keeps who reads them from holding anything up
//	quit.go      SIGQUIT, without Go's stacks and arguments
//	ready.go     what /readyz says
//	snapshot.go  what /status says, and what the admin socket's calls do
//	ask.go       asks the service that runs, for status and token
//
// Serve owns the service's goroutines: one for each token's Run, one each for the
// admin listener and socket, one for the proxy, and one for each log. They end in the
// opposite order of a request's way: first the proxy, which lets requests under way
// finish and may still need signatures for that, then the rest, and the logs last.
package main
