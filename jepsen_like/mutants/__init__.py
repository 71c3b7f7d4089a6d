"""Seeded bugs, and the proof that each is found: see README.md."""
