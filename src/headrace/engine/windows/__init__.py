"""Windows: groups, panes, sessions, and stretches of rows that overlap."""
