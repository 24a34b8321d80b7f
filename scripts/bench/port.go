package main

import "net"

// freeAddress is one that nothing listened on a moment ago. Another program may
// take it before it is used: starting is tried again then.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// onFreeAddress starts something on a free address, with some tries.
func onFreeAddress[T any](start func(address string) (T, error)) (T, error) {
	const tries = 3
	for try := 1; ; try++ {
		address, err := freeAddress()
		if err != nil {
			var none T
			return none, err
		}
		started, err := start(address)
		if err == nil || try == tries {
			return started, err
		}
	}
}
