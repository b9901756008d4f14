"""Objects as Stripe shows them; each function gives a document of plain values. No I/O."""
