"""MATCH_RECOGNIZE, event by event: the automaton of a pattern, its conditions and its aggregates."""
