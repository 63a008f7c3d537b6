"""Registration programs, one a file, each a process of its own: ``python -m scans.programs.greedy register ...``.

A program's package is imported in its functions: the process that is measured loads that package and nothing else, and
the benchmark lists versions and settings without loading any. ``register(fixed, moving, folder, *arguments)`` leaves
transforms in a folder; ``apply(fixed, label, folder)`` reads them and returns an ``Applied``.
"""
