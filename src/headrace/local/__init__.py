"""The embedded services on SQLite: hubs, queues, tables, dead letters."""
