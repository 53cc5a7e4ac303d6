"""The edge process: discovery, LAN links and relay connections around ``xmesh_mesh.wire``."""
