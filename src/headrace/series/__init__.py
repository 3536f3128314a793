"""The tag historian: tenants' files of readings, and one history per tag."""
