"""Heartbeats and deadlines of one client, without a session."""

from nsqx.nsqd.core.liveness import NEVER_NS, Liveness, Verdict

INTERVAL_NS = 1000


def judge(liveness: Liveness, now_ns: int, *, is_read: bool = True, unsent: int = 0) -> Verdict:
    return liveness.judge(now_ns, is_read=is_read, unsent_bytes=unsent)


def test_a_heartbeat_is_due_once_each_interval() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    assert judge(liveness, 999) is Verdict.NOTHING
    assert judge(liveness, 1000) is Verdict.HEARTBEAT
    assert judge(liveness, 1001) is Verdict.NOTHING


def test_after_a_pause_there_is_one_heartbeat_in_step_with_the_start() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    liveness.heard_ns = 3500
    assert judge(liveness, 3500) is Verdict.HEARTBEAT
    assert judge(liveness, 3999) is Verdict.NOTHING
    assert judge(liveness, 4000) is Verdict.HEARTBEAT


def test_two_intervals_of_silence_end_a_client_that_is_read() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    liveness.heard_ns = 500
    assert judge(liveness, 2499) is not Verdict.END
    assert judge(liveness, 2500, is_read=False) is not Verdict.END
    assert judge(liveness, 2500) is Verdict.END


def test_a_stuck_client_has_an_interval_to_take_something() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    liveness.get_stuck(100, 2000)
    assert judge(liveness, 2999, unsent=100) is Verdict.NOTHING
    assert judge(liveness, 2999, unsent=99) is Verdict.NOTHING
    assert judge(liveness, 3998, unsent=99) is Verdict.NOTHING
    assert judge(liveness, 3999, unsent=99) is Verdict.END


def test_room_in_the_buffer_is_a_sign_of_life() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    liveness.get_stuck(100, 10_000)
    liveness.come_loose(10_500)
    assert judge(liveness, 12_499) is not Verdict.END
    assert judge(liveness, 12_500) is Verdict.END


def test_nobody_looks_before_something_may_be_due() -> None:
    liveness = Liveness(0, INTERVAL_NS)
    assert liveness.due_ns == 1000
    liveness.deadline_interval_ns = 200
    assert liveness.due_ns == 400
    liveness.get_stuck(100, 150)
    assert liveness.due_ns == 200  # what it takes is seen by looking only
    assert judge(liveness, 200, unsent=100) is Verdict.NOTHING
    assert liveness.due_ns == 250
    assert judge(liveness, 310, unsent=99) is Verdict.NOTHING
    assert liveness.due_ns == 360
    assert judge(liveness, 480, unsent=99) is Verdict.NOTHING
    assert liveness.due_ns == 510  # an interval since it took something
    liveness.deadline_interval_ns = 0
    assert liveness.due_ns == 1000


def test_without_an_interval_nothing_ever_happens() -> None:
    liveness = Liveness(0, 0)
    assert liveness.due_ns == NEVER_NS
    assert judge(liveness, 10**18) is Verdict.NOTHING
    liveness.get_stuck(1, 0)
    assert judge(liveness, 10**18, unsent=1) is Verdict.NOTHING
