"""Grids and images and their place in the body, in RAS mm."""
