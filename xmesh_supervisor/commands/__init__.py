"""The verbs of xmesh-sup, a module each."""
