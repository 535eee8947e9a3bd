"""What homebody promises, and what keeps it true: config, bounds, noise, accounting, ledger.

Import the module you need (``homebody_privacy.config``, ``.accounting``, ...). This package
imports nothing else of homebody's, and loading it loads nothing heavy.
"""
