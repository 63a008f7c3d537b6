"""Motion correction of a series of volumes."""
