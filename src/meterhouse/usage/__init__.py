"""Remember usage: accepted and rejected events, in columns."""
