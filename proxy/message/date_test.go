package message

import (
	"net/http"
	"testing"
	"time"
)

func TestNow_IsADateOfNow(t *testing.T) {
	before := time.Now().Truncate(time.Second)
	for range 2 {
		got, err := http.ParseTime(string(Now()))
		if err != nil || got.Before(before) || got.After(time.Now()) {
			t.Errorf("%s: %v", Now(), err)
		}
	}
}
