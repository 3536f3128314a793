"""HTTP servers: publishing to a hub."""
