"""Consent on the device: the book of decisions, the four gates, and what makes data follow them."""
