"""Events in, requests out: how each form of event is recognised, read and answered."""
