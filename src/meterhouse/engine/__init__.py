"""The process that holds the embedded engine and the judge: its start, its work, its clients."""
