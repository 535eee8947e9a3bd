"""Recommenders trained without differential privacy: the floor and the ceiling of every table.

They see every history at once, which no fleet allows: for reports alone. Each has a fixed, small
grid of settings; ``choosing`` picks one on validation items and never sees the test.
"""
