"""The host-local bus: a broker with a durable journal, and its client."""
