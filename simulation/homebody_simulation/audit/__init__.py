"""Audits of a privacy claim: they run the real pipeline with canaries and can only refute.

Three tiers. ``conformance`` measures clip and noise on rows that only canaries touch, ``one_run``
bounds epsilon from below, ``membership`` attacks the final model and only estimates.
"""
