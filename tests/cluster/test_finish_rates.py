"""A consumer's rate is its growth between two answers, and is never guessed."""

import msgspec

from nsqx.cluster.answers import NsqdStats
from nsqx.cluster.finish_rates import FinishRates


def said(**finished: int) -> NsqdStats:
    """Return the answer of an nsqd whose clients have finished so many messages."""
    clients = [
        {"remote_address": address, "finish_count": count} for address, count in finished.items()
    ]
    channels = [{"channel_name": "c", "clients": clients}, {"channel_name": "nobody's"}]
    topics = [{"topic_name": "t", "channels": channels}, {"topic_name": "bare"}]
    return msgspec.convert({"topics": topics}, NsqdStats)


def test_a_rate_is_what_a_client_finished_since_the_answer_before() -> None:
    rates = FinishRates()
    rates.add(100.0, said(one=5, two=7))
    assert rates.by_address == {}
    rates.add(102.0, said(one=25, two=7))
    assert rates.by_address == {"one": 10.0, "two": 0.0}


def test_who_has_just_come_has_none_and_who_has_gone_is_forgotten() -> None:
    rates = FinishRates()
    rates.add(100.0, said(gone=5))
    rates.add(101.0, said(new=1000))
    assert rates.by_address == {}


def test_a_connection_that_was_made_again_from_the_same_port_has_no_negative_rate() -> None:
    rates = FinishRates()
    rates.add(100.0, said(one=500))
    rates.add(101.0, said(one=2))
    assert rates.by_address == {"one": 0.0}


def test_two_answers_of_one_moment_say_nothing() -> None:
    rates = FinishRates()
    rates.add(100.0, said(one=1))
    rates.add(100.0, said(one=2))
    assert rates.by_address == {}
