"""The operator's door: the `meterhouse` command."""
