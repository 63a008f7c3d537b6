"""The parts of docs/benchmarks/tools.py: one file per tool, and what measures and reports all of them alike."""
