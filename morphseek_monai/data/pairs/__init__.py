"""Pairs of subjects for training, and how their images are loaded."""
