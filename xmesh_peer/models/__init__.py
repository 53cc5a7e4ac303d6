"""Models behind one interface: vendor SDKs, and the rehearsal that needs none."""
