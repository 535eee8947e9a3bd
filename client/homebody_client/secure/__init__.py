"""A node's part in sealed sessions: what it checks, keeps between messages, and sends."""
