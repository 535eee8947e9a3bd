"""The Flower server of a federated run: cohorts, rounds, and the release of each model."""
