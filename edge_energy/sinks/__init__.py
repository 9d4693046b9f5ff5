"""Where readings go: one module per sink."""
