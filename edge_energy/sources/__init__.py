"""Where readings come from: one module or package per source."""
