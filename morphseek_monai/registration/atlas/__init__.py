"""Building an atlas from a group of subjects."""
