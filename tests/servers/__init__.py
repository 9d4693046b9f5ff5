"""The real servers of the tests: found, made, started and disturbed; plain Python, no pytest."""
