"""Who is taken: the index of identifiers, its filter, and what tells it about the past."""
