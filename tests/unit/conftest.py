"""Fixtures that several unit tests share: a clock to move by hand, and a namespace that uses it."""

import pytest

from headrace.clock import ManualClock
from headrace.local.namespace import Namespace


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def namespace(tmp_path, clock):
    with Namespace.open(tmp_path, clock=clock) as opened:
        yield opened
