"""Which host is next. Time is an argument, and chance has a seed."""

import random
from collections import Counter

from hypothesis import given, strategies as st

from nsqx.apps.tools.host_pool import (
    DEAD_SECONDS,
    DEAD_SECONDS_MAX,
    EPSILON_MIN,
    EpsilonGreedy,
    HostPool,
    Pool,
    RoundRobin,
    make_pool,
    prompt,
)


def fail(pool: Pool, host: int, now: float) -> None:
    pool.report(host, succeeded=False, seconds=0.1, now=now)


def succeed(pool: Pool, host: int, now: float, seconds: float = 0.1) -> None:
    pool.report(host, succeeded=True, seconds=seconds, now=now)


def chosen(pool: Pool, count: int, now: float) -> list[int]:
    return [pool.choose(now) for _ in range(count)]


def test_round_robin_takes_turns_from_where_it_is_told() -> None:
    assert chosen(RoundRobin(3, first=1), 5, 0) == [1, 2, 0, 1, 2]
    assert chosen(RoundRobin(1, first=1), 2, 0) == [0, 0]


def test_the_modes_have_their_pools() -> None:
    assert isinstance(make_pool("hostpool", 2), HostPool)
    assert isinstance(make_pool("epsilon-greedy", 2), EpsilonGreedy)
    assert isinstance(make_pool("another", 2), RoundRobin)


def test_hosts_take_turns() -> None:
    assert chosen(HostPool(3), 4, 0) == [0, 1, 2, 0]


def test_a_host_that_failed_is_left_alone_for_a_while() -> None:
    pool = HostPool(2)
    fail(pool, 0, now=0)
    assert chosen(pool, 3, now=DEAD_SECONDS - 1) == [1, 1, 1]
    assert 0 in chosen(pool, 2, now=DEAD_SECONDS)


def test_a_dead_host_is_tried_by_one_request_and_for_twice_as_long_left_alone() -> None:
    pool = HostPool(2)
    fail(pool, 0, now=0)
    now = DEAD_SECONDS
    assert Counter(chosen(pool, 10, now))[0] == 1
    fail(pool, 0, now)
    assert 0 not in chosen(pool, 4, now + 2 * DEAD_SECONDS - 1)
    assert 0 in chosen(pool, 2, now + 2 * DEAD_SECONDS)


def test_waits_do_not_grow_for_ever() -> None:
    pool = HostPool(2)
    fail(pool, 0, now=0)
    now = 0.0
    for _ in range(20):
        now += DEAD_SECONDS_MAX
        assert 0 in chosen(pool, 2, now)
        fail(pool, 0, now)


def test_a_success_revives_a_host() -> None:
    pool = HostPool(2)
    fail(pool, 0, now=0)
    succeed(pool, 0, now=1)
    assert sorted(chosen(pool, 2, now=1)) == [0, 1]


def test_if_all_are_dead_all_are_tried() -> None:
    pool = HostPool(3)
    for host in range(3):
        fail(pool, host, now=0)
    assert sorted(chosen(pool, 3, now=1)) == [0, 1, 2]


def test_the_fast_host_gets_most() -> None:
    pool = EpsilonGreedy(2, random.Random(1))
    for _ in range(10):
        succeed(pool, 0, now=1, seconds=0.09)
        succeed(pool, 1, now=1, seconds=0.01)
    counts = Counter(chosen(pool, 2000, now=1))
    assert 5 < counts[1] / counts[0] < 12


def test_exploring_becomes_rare() -> None:
    pool = EpsilonGreedy(2, random.Random(1))
    chosen(pool, 5000, now=0)
    assert pool.epsilon == EPSILON_MIN


def test_old_times_are_forgotten() -> None:
    pool = EpsilonGreedy(2, random.Random(1))
    succeed(pool, 0, now=0, seconds=10)
    succeed(pool, 0, now=1000, seconds=0.01)
    succeed(pool, 1, now=1000, seconds=0.01)
    counts = Counter(chosen(pool, 1000, now=1000))
    assert 0.7 < counts[0] / counts[1] < 1.4


def test_a_dead_host_is_not_chosen_for_its_speed() -> None:
    pool = EpsilonGreedy(2, random.Random(1))
    succeed(pool, 0, now=0, seconds=0.001)
    succeed(pool, 1, now=0, seconds=1)
    fail(pool, 0, now=0)
    assert set(chosen(pool, 100, now=1)) == {1}
    # After its time, one request tries it.
    assert Counter(chosen(pool, 100, now=DEAD_SECONDS))[0] == 1


@given(
    hosts=st.integers(1, 4),
    mode=st.sampled_from(["hostpool", "epsilon-greedy", "round-robin"]),
    results=st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60),
)
def test_there_is_always_a_host(hosts: int, mode: str, results: list[tuple[bool, float]]) -> None:
    pool, now = make_pool(mode, hosts), 0.0
    for succeeded, seconds in results:
        host = pool.choose(now)
        assert 0 <= host < hosts
        now += seconds
        pool.report(host, succeeded=succeeded, seconds=seconds, now=now)


def test_a_host_that_is_late_is_passed_over() -> None:
    assert prompt(1, lambda: [False, True, False]) == 2
    assert prompt(2, lambda: [False, False, True]) == 0
    assert prompt(1, lambda: [True, False]) == 1
    assert prompt(1, lambda: [True, True]) == 1
