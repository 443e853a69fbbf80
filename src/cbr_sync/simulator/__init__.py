"""A simulated CBR: for tests, demos and trying things without an account."""
