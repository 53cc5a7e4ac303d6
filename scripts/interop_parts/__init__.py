"""What ``scripts/interop`` shows, scene by scene."""
