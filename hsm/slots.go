package hsm

import (
	"context"
	"log/slog"

	"sallyport/hsm/wire"
)

// Slots lists what the module of c shows without a login: its slots with
// tokens, and the objects on them that are public. It uses a signer process of
// its own, which is gone when Slots returns.
func Slots(ctx context.Context, c Config, log *slog.Logger) ([]wire.Inventory, error) {
	c = c.withDefaults()
	p, err := startProcess(c, log)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeout(ctx, c.OpenTimeout)
	defer cancel()
	var all wire.SlotList
	if err := p.ask(ctx, wire.Slots, c.Settings, &all); err != nil {
		return nil, outward(err)
	}
	return all.Slots, nil
}
