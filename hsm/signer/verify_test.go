package signer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"testing"
)

func TestVerified_RSAAlwaysECDSABySample(t *testing.T) {
	count := func(k *privateKey, n int, doubt bool) (verified int) {
		for range n {
			if k.verified(doubt) {
				verified++
			}
		}
		return verified
	}
	ec := &privateKey{public: &ecdsa.PublicKey{Curve: elliptic.P256()}}
	if n := count(ec, firstSignatures, false); n != firstSignatures {
		t.Errorf("%d of the first %d are verified", n, firstSignatures)
	}
	if n := count(ec, 10*sampledSignatures, false); n != 10 {
		t.Errorf("%d of the next %d are verified, want 10", n, 10*sampledSignatures)
	}
	if n := count(ec, 100, true); n != 100 {
		t.Errorf("%d of 100 are verified while there is doubt", n)
	}
	if n := count(&privateKey{public: &rsa.PublicKey{N: big.NewInt(1)}}, 1000, false); n != 1000 {
		t.Errorf("%d of 1000 by RSA are verified", n)
	}
}

// A key with a stranger's public half gives no right signature, which is no reason to
// verify all those of the other keys.
func TestWrong_AKeyThatWasRightCastsDoubt(t *testing.T) {
	s, k := new(signer), new(privateKey)
	if s.wrong(k, "odd"); s.doubt.Load() {
		t.Error("a key that never was right casts doubt on all")
	}
	k.proved.Store(true)
	if s.wrong(k, "odd"); !s.doubt.Load() {
		t.Error("a key that was right casts no doubt")
	}
}

func TestECDSADER_DoubtsWhatCannotBe(t *testing.T) {
	order := elliptic.P256().Params().N
	pad := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	one := pad(big.NewInt(1))
	for name, raw := range map[string][]byte{
		"nothing":        nil,
		"an odd length":  make([]byte, 63),
		"too long":       append(pad(order), make([]byte, 34)...),
		"zeros":          make([]byte, 64),
		"r is 0":         append(make([]byte, 32), one...),
		"s is the order": append(append([]byte{}, one...), pad(order)...),
		"r is all ones":  append(pad(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))), one...),
	} {
		if der, err := ecdsaDER(raw, order); !isOdd(err) {
			t.Errorf("%s: %x, %v", name, der, err)
		}
	}
	if _, err := ecdsaDER(append(append([]byte{}, one...), one...), order); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if _, err := ecdsaDER([]byte{1, 2}, order); err != nil {
		t.Errorf("one without leading zeros: %v", err)
	}
}
