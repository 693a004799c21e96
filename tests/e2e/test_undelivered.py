"""The assumption of the undelivered rule, for each server: it executes nothing that it reads after it has closed its side."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from undelivered import LIMIT, SERVERS, race

CONNECTIONS = 60
#: Servers that start and wait at the same time.
AT_A_TIME = 4


@pytest.fixture(scope="module")
def tally_of(tmp_path_factory):
    """`tally_of(name)`: how the race with this server ended; all run at the same time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        races = {name: pool.submit(race, kind, tmp_path_factory.mktemp(name), CONNECTIONS) for name, kind in SERVERS.items()}
        yield lambda name: races[name].result()


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_taken_as_undelivered_was_not_executed(tally_of, name):
    tally = tally_of(name)
    assert tally.ends.total() == CONNECTIONS
    # Sync workers of Gunicorn read what comes after their answer, so that the kernel acknowledges it: the rule never holds.
    assert tally.ends["undelivered"] > 0 or name == "gunicorn-sync", tally
    assert tally.executed["undelivered"] == 0, tally


def test_the_documented_limit_is_seen(tmp_path):
    tally = race(LIMIT, tmp_path, CONNECTIONS)
    assert tally.executed["undelivered"] > 0, tally
