"""Acknowledgements: their order, and that none is given within another."""

from nsqx.nsqd.core.acknowledgements import Acknowledgements, PublishError


def not_expected(what: str, exception: Exception) -> None:
    raise exception


def test_they_are_given_in_order_each_with_its_answer() -> None:
    acknowledgements, given = Acknowledgements(not_expected), list[tuple[int, str]]()

    def to(number: int, error: PublishError | None) -> None:
        given.append((number, str(error)))

    acknowledgements.add([lambda error: to(1, error), lambda error: to(2, error)])
    acknowledgements.add([lambda error: to(3, error)], PublishError("full"))
    assert given == []
    acknowledgements.give()
    assert given == [(1, "None"), (2, "None"), (3, "full")]
    acknowledgements.give()
    assert len(given) == 3


def test_one_that_comes_up_meanwhile_waits_for_those_before_it() -> None:
    """A session that is let go publishes, commits, and has the answers given."""
    acknowledgements, given = Acknowledgements(not_expected), list[str]()

    def goes_on(error: PublishError | None) -> None:
        acknowledgements.add([lambda error: given.append("of what it let go")])
        acknowledgements.give()
        given.append("goes on")

    acknowledgements.add([goes_on, lambda error: given.append("behind it")])
    acknowledgements.give()
    assert given == ["goes on", "behind it", "of what it let go"]


def test_a_fault_is_reported_and_costs_no_other() -> None:
    faults, given = list[tuple[str, str]](), list[str]()
    acknowledgements = Acknowledgements(
        lambda what, exception: faults.append((what, str(exception)))
    )

    def fails(error: PublishError | None) -> None:
        raise KeyError("a fault")

    acknowledgements.add([fails, lambda error: given.append("behind it")])
    acknowledgements.give()
    assert (faults, given) == ([("answer a publish", "'a fault'")], ["behind it"])
