"""Scores of finished registrations against labels, points and references; the verdict of a registration."""
