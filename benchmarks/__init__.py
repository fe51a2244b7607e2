"""Side-by-side measurements: two ways of doing the same, run in turn on the same machine, reported as a ratio."""
