"""One-shot statistics: what a device adds, where it lies, and the model made of the noised sums."""
