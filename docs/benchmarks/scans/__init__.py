"""The parts of docs/benchmarks/real.py: the pairs, the tools, the figures and the tables."""
