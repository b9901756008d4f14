"""Pages for people, which ask our own HTTP API in process."""
