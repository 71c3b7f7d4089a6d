"""What everybody agrees on: paths, ops, results, errors, events. Floor 0: standard library only."""
