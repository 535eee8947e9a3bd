"""The server's half of sealed sessions: enrol, ask, and learn the sum and nothing else."""
