package hsmtest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"testing"

	"sallyport/hsm"
	"sallyport/hsm/hsmtest"
)

// Numbers that a device gives, such as its RwSessionCount of 1, are doubted: the
// token is used where that is possible, or it is said what is odd. The signer
// neither panics nor takes memory by them.
func TestFaulty_OddNumbersAreDoubted(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	for _, c := range []struct {
		function string
		numbers  []uint
		signs    bool   // nevertheless
		says     string // an error, or the reason why a key is not used; of the large numbers
	}{
		{"C_GetTokenInfo", []uint{0, 1, 2, 3, 1 << 31, math.MaxInt64, math.MaxUint - 1, math.MaxUint}, true, ""},
		{"C_GetMechanismInfo", []uint{0, math.MaxUint}, true, ""},
		{"C_GetMechanismList", []uint{0, 1 << 20, 1 << 62, math.MaxUint}, true, "C_GetMechanismList speaks of"},
		{"C_GetSlotList", []uint{1 << 20, 1 << 62, math.MaxUint}, false, "C_GetSlotList speaks of"},
		{"C_FindObjects", []uint{1, 1 << 20, 1 << 62, math.MaxUint}, false, "C_FindObjects"},
		{"C_GetAttributeValue", []uint{0, 1, 7, 1 << 20, 1 << 31, 1 << 62, math.MaxUint - 1, math.MaxUint}, false, ""},
		{"C_Sign", []uint{0, 1, 63, 1 << 20, 1 << 31, 1 << 62, math.MaxUint}, false, "a wrong signature: it has"},
	} {
		for _, n := range c.numbers {
			t.Run(fmt.Sprintf("%s gives %#x", c.function, n), func(t *testing.T) {
				f.Heal()
				f.Numbers(c.function, n)
				ctx, stop := context.WithCancel(t.Context())
				token, logs := run(t, s, f)
				defer stop()
				err := token.Ready(ctx)
				if err == nil {
					_, examined := token.Examine(ctx)
					err = signs(ctx, token)
					if c.signs && err != nil {
						t.Errorf("it does not sign: %v", err)
					}
					if examined != nil {
						err = examined
					}
				} else if c.signs {
					t.Errorf("it does not open: %v", err)
				}
				if !c.signs && err == nil {
					t.Error("nothing is wrong with it")
				}
				if n > 1<<16 && c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("it says %v", err)
				}
				for _, crash := range []string{"panic", "goroutine", "segmentation", "signal:"} {
					if all := fmt.Sprint(err, logs); strings.Contains(all, crash) {
						t.Fatalf("the signer process came to grief: %s", all)
					}
				}
			})
		}
	}
}

// signs makes one signature with the key "ec", which must be right.
func signs(ctx context.Context, token *hsm.Token) error {
	u, err := hsm.ParseURI("pkcs11:object=ec")
	if err != nil {
		return err
	}
	keys, _, err := hsm.FindKeys([]*hsm.Token{token}, u)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := keys[0].SignContext(ctx, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(keys[0].Public().(*ecdsa.PublicKey), digest[:], signature) {
		return fmt.Errorf("the signature is wrong")
	}
	return nil
}

// A reading takes three searches and one call or two for each object, however many
// there are.
func TestFaulty_ManyKeysAreReadInOnePass(t *testing.T) {
	s := hsmtest.New(t)
	f := hsmtest.NewFaulty(t, s)
	token, _ := up(t, s, f)
	read := func() (searches, attributes int) {
		t.Helper()
		f.ResetStats()
		if err := token.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		stats := f.Stats()
		return stats["C_FindObjectsInit"].Made, stats["C_GetAttributeValue"].Made
	}
	few, fewAttributes := read()
	for i := range 4 {
		s.GenerateKey(fmt.Sprintf("more%d", i), fmt.Sprintf("7%d", i), "EC:prime256v1")
	}
	many, manyAttributes := read()
	if few == 0 || many != few {
		t.Errorf("%d searches with a few keys, %d with more", few, many)
	}
	// Two for a public half, with its numbers; a library that lacks an attribute is asked for each.
	const most = 12
	if grown := manyAttributes - fewAttributes; fewAttributes == 0 || grown > 4*2*most {
		t.Errorf("%d calls for attributes at first, %d more for four key pairs", fewAttributes, grown)
	}
	if got := len(token.Inventory().Keys); got != 6 {
		t.Errorf("%d keys, want 6", got)
	}
}
