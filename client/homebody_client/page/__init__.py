"""The device page: what a person sees of their device, and every switch they have over it."""
