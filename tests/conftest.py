"""What all tests share: a PostgreSQL server, started when the first test asks for it, and no deadlines."""

import pytest
from hypothesis import settings

from headrace.testing.postgresql import session_server

# How long an example takes says more of the machine than of the code.
settings.register_profile("headrace", deadline=None)
settings.load_profile("headrace")


@pytest.fixture(scope="session")
def postgresql_server():
    """A server of this session's own; without one the tests that need it are skipped, with the reason."""
    with session_server(pytest.skip) as server:
        yield server
