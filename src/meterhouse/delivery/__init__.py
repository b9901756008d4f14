"""Delivery: what happened, told to the destinations that asked for it."""
