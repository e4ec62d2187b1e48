"""What a client sends, byte by byte, and what it refuses to send."""

import pytest

from nsqx.protocol import commands

ID = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (commands.identify(b"{}"), b"IDENTIFY\n\x00\x00\x00\x02{}"),
        (commands.auth(b"secret"), b"AUTH\n\x00\x00\x00\x06secret"),
        (commands.sub("t", "c#ephemeral"), b"SUB t c#ephemeral\n"),
        (commands.rdy(0), b"RDY 0\n"),
        (commands.rdy(2500), b"RDY 2500\n"),
        (commands.fin(ID), b"FIN 0123456789abcdef\n"),
        (commands.fin_run([]), b""),
        (commands.fin_run([ID]), b"FIN 0123456789abcdef\n"),
        (commands.fin_run([ID, b"f" * 16]), b"FIN 0123456789abcdef\nFIN ffffffffffffffff\n"),
        (commands.req(ID, 1500), b"REQ 0123456789abcdef 1500\n"),
        (commands.touch(ID), b"TOUCH 0123456789abcdef\n"),
        (commands.cls(), b"CLS\n"),
        (commands.nop(), b"NOP\n"),
        (commands.pub("t", b"body"), b"PUB t\n\x00\x00\x00\x04body"),
        (commands.dpub("t", 250, b"x"), b"DPUB t 250\n\x00\x00\x00\x01x"),
        (
            commands.mpub("t", iter([b"a", b"bb"])),
            b"MPUB t\n\x00\x00\x00\x0f\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bb",
        ),
    ],
)
def test_bytes_on_the_wire(built: bytes, expected: bytes) -> None:
    assert built == expected


def test_what_the_server_would_close_the_connection_for_is_not_built() -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        commands.pub("a\nFIN", b"x")
    with pytest.raises(ValueError, match="not a valid name"):
        commands.sub("t", "c c")
    with pytest.raises(ValueError, match="body is empty"):
        commands.pub("t", b"")
    with pytest.raises(ValueError, match="each needs a body"):
        commands.mpub("t", [b"a", b""])
    with pytest.raises(ValueError, match="MPUB needs messages"):
        commands.mpub("t", [])
    with pytest.raises(ValueError, match="16 bytes"):
        commands.fin_run([ID, b"short"])
    with pytest.raises(ValueError, match="negative"):
        commands.req(ID, -1)
    with pytest.raises(ValueError, match="negative"):
        commands.rdy(-1)
