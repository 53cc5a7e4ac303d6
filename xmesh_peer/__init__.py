"""One agent: its configuration, its loop, its models and its safety."""
