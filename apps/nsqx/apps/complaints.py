"""What a command has to complain about, on stderr: its own failures and the client's warnings."""

import logging
from collections import deque

import click

from nsqx.apps.terminal import printable

__all__ = ["Complaints"]

REMEMBERED = 20


class Complaints(logging.Handler):
    """
    Writes lines such as ``nsqx pub: cannot connect to ...``.

    From its making on it also takes what the client logs from WARNING on. The client warns of a
    lost connection when it happens; the command that then fails for it need not say so again.
    """

    def __init__(self, command: str) -> None:
        super().__init__(logging.WARNING)
        self._command = command
        self._latest: deque[str] = deque(maxlen=REMEMBERED)
        log = logging.getLogger("nsqx.client")
        log.addHandler(self)
        log.propagate = False

    def fail(self, reason: object) -> None:
        """Say why the command fails, if that was not said just before."""
        if str(reason) not in self._latest:
            self._write(str(reason))

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage())

    def _write(self, text: str) -> None:
        self._latest.append(text)
        # What a server says is in it: one line, and nothing that a terminal obeys.
        click.echo(f"nsqx {self._command}: {printable(text)}", err=True)
