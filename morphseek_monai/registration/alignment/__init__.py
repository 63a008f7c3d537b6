"""Initial alignment of two scans by an affine."""
