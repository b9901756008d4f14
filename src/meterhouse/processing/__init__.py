"""Who moves batches from the journal to the usage store, and knows how fresh answers are."""
