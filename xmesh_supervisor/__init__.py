"""The fleet: what should run, what does run, and how it ends."""
