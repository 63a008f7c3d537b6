"""Segmenting a scan by labelled atlases that are registered to it."""
