// Package memory is the one budget that the process spends on its clients: on their
// connections, their streams, and the bodies on their way.
//
// # Who may hold how much
//
// A client may hold as much as is free. "Client" is an IPv4 address or the /64 of an IPv6
// address, with all its connections. So one alone may hold half of the budget, two a
// third each, and n of them leave one part in n+1 to whoever comes next: those who hold
// most are the first that have more than is free, and nobody has to be looked for.
//
// A client that holds more than that is short (Client.Short): it is rationed, and nobody
// else is. Its streams wait, two of each connection are served at once, windows shrink.
// So it may come to hold more by further connections, each with the little that it gets, until
// less than an eighth of the budget is free. Then it has to give way (Client.Out): its new connections and
// streams are refused, bodies that nobody reads are broken off, idle connections are closed.
//
// While the budget suffices nothing of this happens, whatever a client has sent or
// not: no client pays for being served.
//
// # What counts
//
// Callers say what they hold with Take: what something takes as a rule, such as a
// connection or a goroutine, and buffers by their size. Memory of the kernel's, of
// signers, and what is not collected yet is not counted, which is why a budget is a part of
// what the process may have (Default).
package memory
