"""What usage means: pure, without I/O and without a clock."""
