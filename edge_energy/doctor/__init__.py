"""`edge-energy doctor`: looks at all that the appliance needs, and says what is wrong, why, and what to type."""
