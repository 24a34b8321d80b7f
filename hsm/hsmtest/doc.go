// Package hsmtest makes real PKCS#11 tokens for tests, of several vendors, each
// in a folder of the test's own and changed with OpenSC's pkcs11-tool as an
// operator would change it.
//
//	Token     a token and what it takes to reach it; New makes one of the vendor
//	          that $HSMTEST_VENDOR names
//	Server    what a remote token is reached by; it can be killed and stopped
//	Faulty    a module around a token's own that misbehaves on command
package hsmtest
