"""Transforms in millimetres: their files, resampling, composing, inverting, points."""
