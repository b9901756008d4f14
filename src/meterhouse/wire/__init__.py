"""How Stripe spells it: pure, without I/O and without a clock."""
