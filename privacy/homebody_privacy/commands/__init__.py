"""Commands about a config: thin shells over what the package can say of it."""
