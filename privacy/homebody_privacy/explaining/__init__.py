"""A config in plain words: what is asked, what is promised, to whom, and on whose word."""
