"""A relay for those who run their own: WebSocket transport between hosts that share no LAN."""
