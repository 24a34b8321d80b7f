// Package hsmtest makes real PKCS#11 tokens for tests: SoftHSM tokens in a
// folder of the test's own, changed with OpenSC's pkcs11-tool as an operator
// would change them.
package hsmtest
