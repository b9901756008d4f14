"""The ledger: what was acknowledged, for whom, and what became of it; one transactional store."""
