"""A simulated CBR, for tests, for demos and for trying things without an account."""
