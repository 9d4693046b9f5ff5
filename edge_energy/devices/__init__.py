"""Wire formats of devices: pure functions, no I/O."""
