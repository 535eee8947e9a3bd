"""Two configs side by side: what became weaker, what stronger, and who must be asked again."""
