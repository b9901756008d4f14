"""What usage costs: money, prices, periods, lines and their texts. No I/O, no clock."""
