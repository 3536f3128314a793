"""Helpers for tests, public: checkers and crash runs."""
