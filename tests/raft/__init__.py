"""Tests of the pure Raft core. `cluster.py` drives it; `traces/` holds scripts with their full output."""
