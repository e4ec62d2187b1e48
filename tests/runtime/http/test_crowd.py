"""Who makes room when there are too many connections."""

from nsqx.runtime.http.crowd import SMALL_HEAD_BYTES, Crowd


class Member:
    """A connection that notes its end."""

    def __init__(self, *, is_idle: bool = True) -> None:
        self.is_idle = is_idle
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True


def entered(crowd: Crowd[Member], host: str, count: int, *, is_idle: bool = True) -> list[Member]:
    members = [Member(is_idle=is_idle) for _ in range(count)]
    for member in members:
        crowd.enter(member, host)
    return members


def test_the_oldest_idle_one_of_the_greatest_holder_goes() -> None:
    crowd: Crowd[Member] = Crowd(8)
    (busy,) = entered(crowd, "stranger", 1, is_idle=False)
    oldest, *others = entered(crowd, "stranger", 5)
    ours = entered(crowd, "ours", 3)
    assert oldest.is_closed
    assert not any(member.is_closed for member in (busy, *others, *ours))


def test_an_address_has_its_share_and_nobody_else_pays_for_it() -> None:
    crowd: Crowd[Member] = Crowd(8)
    (ours,) = entered(crowd, "ours", 1)
    busy = entered(crowd, "stranger", 6, is_idle=False)
    (refused,) = entered(crowd, "stranger", 1)
    assert refused.is_closed
    assert not any(member.is_closed for member in (ours, *busy))


def test_others_make_room_where_the_greatest_holder_is_busy() -> None:
    crowd: Crowd[Member] = Crowd(4)
    entered(crowd, "busy", 3, is_idle=False)
    (idle,) = entered(crowd, "idle", 1)
    (newcomer,) = entered(crowd, "new", 1)
    assert (idle.is_closed, newcomer.is_closed) == (True, False)


def test_who_left_is_not_counted() -> None:
    crowd: Crowd[Member] = Crowd(2)
    for _ in range(5):
        (member,) = entered(crowd, "one", 1)
        crowd.leave(member, "one")
        crowd.leave(member, "one")
        assert not member.is_closed


def test_heads_are_bounded_in_all_and_small_ones_always_pass() -> None:
    crowd: Crowd[Member] = Crowd(2, heads_bytes_max=100_000)
    assert crowd.grow_head(90_000, 90_000)
    assert not crowd.grow_head(20_000, 20_000)
    assert crowd.grow_head(SMALL_HEAD_BYTES - 1, SMALL_HEAD_BYTES - 1)
    crowd.end_head(90_000)
    assert crowd.grow_head(20_000, 20_000)
