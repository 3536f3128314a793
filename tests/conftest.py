"""Fixtures of all tests: a PostgreSQL server, started when the first test asks for it."""

import pytest

from headrace.testing.postgresql import session_server


@pytest.fixture(scope="session")
def postgresql_server():
    """A server of this session's own; without one the tests that need it are skipped, with the reason."""
    with session_server(pytest.skip) as server:
        yield server
