"""Many pairs from a table."""
