"""From a request to a committed journal row. Runs in the process that answers."""
