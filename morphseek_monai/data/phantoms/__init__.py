"""Phantoms: synthetic subjects that need no download."""
