"""Rates from counters: right on average, and never negative or huge after a restart."""

from hypothesis import given, strategies as st

from nsqx.cluster.answers import ChannelStats, NsqdStats, TopicStats
from nsqx.cluster.counters import Layouts
from nsqx.cluster.rates import NO_NODE_RATES, NO_RATES, NodeRates, RateWindow


def stats(
    messages: int,
    *,
    depth: int = 0,
    in_flight: int = 0,
    requeued: int = 0,
    start_time: int = 1,
    channel: str = "c",
) -> NsqdStats:
    counted = ChannelStats(
        channel,
        depth=depth,
        in_flight_count=in_flight,
        message_count=messages,
        requeue_count=requeued,
    )
    topic = TopicStats("t", message_count=messages, channels=[counted])
    return NsqdStats(start_time=start_time, topics=[topic])


def known(window: RateWindow) -> NodeRates:
    assert window.rates is not None
    return window.rates


def test_the_first_observation_has_no_rates() -> None:
    window = RateWindow(Layouts())
    assert not window.add(0.0, stats(1_000_000))
    assert window.rates is None


def test_who_is_asked_each_ten_seconds_has_rates_too() -> None:
    window = RateWindow(Layouts())
    for second in (0.0, 10.0, 20.0):
        window.add(second, stats(int(second) * 5))
    assert known(window).of_topic("t") == 5.0


def test_what_came_and_does_not_wait_was_finished() -> None:
    window = RateWindow(Layouts())
    window.add(10.0, stats(100, depth=20, in_flight=5))
    window.add(12.0, stats(140, depth=30, in_flight=1, requeued=4))
    rates = known(window).of("t", "c")
    assert known(window).of_topic("t") == 20.0
    assert (rates.incoming, rates.finished, rates.requeued) == (20.0, 17.0, 2.0)


def test_a_rate_is_the_average_of_the_last_seconds() -> None:
    window = RateWindow(Layouts())
    for second in range(20):
        window.add(float(second), stats(1000 * second if second < 10 else 10_000))
    assert known(window).of_topic("t") == 0.0
    window = RateWindow(Layouts())
    for second in range(6):
        window.add(float(second), stats(50 if second == 5 else 0))
    assert known(window).of_topic("t") == 10.0


def test_a_restart_is_noticed_and_begins_a_new_window() -> None:
    window = RateWindow(Layouts())
    window.add(0.0, stats(1_000, start_time=1))
    assert window.add(1.0, stats(5, start_time=2))
    assert window.rates is None
    assert not window.add(2.0, stats(15, start_time=2))
    assert known(window).of_topic("t") == 10.0


def test_a_restart_is_noticed_without_a_start_time_too() -> None:
    window = RateWindow(Layouts())
    window.add(0.0, stats(1_000, start_time=0))
    assert window.add(1.0, stats(5, start_time=0))


def test_a_channel_that_was_made_again_has_no_rate_and_others_keep_theirs() -> None:
    window = RateWindow(Layouts())
    window.add(0.0, stats(1_000))
    window.add(1.0, stats(3))
    assert known(window).of("t", "c") == NO_RATES


def test_a_new_channel_counts_from_zero() -> None:
    window = RateWindow(Layouts())
    window.add(0.0, NsqdStats(start_time=1, topics=[TopicStats("t")]))
    window.add(2.0, stats(10))
    assert known(window).of("t", "c").incoming == 5.0


def test_messages_that_wait_again_are_no_negative_rate() -> None:
    window = RateWindow(Layouts())
    window.add(0.0, stats(100))
    window.add(1.0, stats(100, depth=100))  # a seek to the start
    assert known(window).of("t", "c").finished == 0.0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50), st.integers(0, 3), st.integers(0, 2), st.sampled_from(["c", "d"])
        ),
        max_size=30,
    )
)
def test_no_story_gives_a_negative_rate(story: list[tuple[int, int, int, str]]) -> None:
    window = RateWindow(Layouts())
    for second, (messages, depth, start_time, channel) in enumerate(story):
        window.add(
            float(second), stats(messages, depth=depth, start_time=start_time, channel=channel)
        )
        rates = window.rates or NO_NODE_RATES
        for column in (*rates.topics.values(), *rates.channels.values()):
            assert min(column) >= 0
            assert max(column) <= 60
