"""The simulator, the live torture and the checkers. Nothing here yet; ``coord.replica`` and ``coord.disk`` are made
for it: pure, synchronous, and seeded from outside.
"""
