"""The mesh: records, identity, admission, memory and the bus. No model, no process management."""
