"""A small made-up shop, to see a device at work without data, network or training."""
