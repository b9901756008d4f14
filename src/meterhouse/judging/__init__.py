"""From journal rows to blocks. Runs where the engine is; there is no event loop."""
