"""From polls to numbered events."""

import sys
import threading

from headrace.connect.source import Poll
from headrace.engine.arrivals import Arranger
from headrace.sql.bind import bind


def test_events_have_numbers_of_their_own_whichever_thread_arranges_them():
    arranger = Arranger(bind("SELECT id INTO rows FROM events"), None)
    numbers: list[range] = []
    poll = Poll("events", [b'{"id": 1}'], b'{"id": 1}', None, 0, [0])

    def arrange():
        for _ in range(300):
            found = arranger.arrange([poll] * 3, 0)
            numbers.append(range(found.first, found.behind))

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=arrange) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before_s)
    assert len({number for some in numbers for number in some}) == 2 * 300 * 3
