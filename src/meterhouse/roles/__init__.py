"""What a process is made of, by its role: what all have, what answers, what works."""
