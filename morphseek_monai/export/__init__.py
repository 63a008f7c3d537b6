"""A bundle that needs MONAI alone."""
