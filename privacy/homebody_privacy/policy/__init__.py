"""The rules a config must pass before anything is deployed, and what is said where it does not."""
