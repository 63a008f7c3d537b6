"""Bundles as models that register."""
