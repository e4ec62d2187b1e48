"""What a ``CommandParser`` returns, in a form that does not depend on how the stream was cut."""

from array import array
from collections.abc import Iterable

from nsqx.protocol.command_parser import FIN, REQ, CommandParser, Limits, LoneAnswer
from nsqx.protocol.commands import (
    Command,
    FinishRun,
    Identify,
    MultiPublish,
    MultiPublishStart,
    Nop,
    Publish,
    Requeue,
    Touch,
    Violation,
)

__all__ = ["command_of", "error_lines", "normalized", "parse_pieces"]


def command_of(answer: LoneAnswer) -> Command:
    """Return the command that says the same as an answer that came alone."""
    word, message_id, timeout_ms = answer
    if word == FIN:
        return FinishRun(array("Q", [message_id]))
    return Requeue(message_id, timeout_ms) if word == REQ else Touch(message_id)


def parse_pieces(
    pieces: Iterable[bytes], limits: Limits | None = None, *, eof: bool = False
) -> list[object]:
    """
    Feed the pieces to a new parser, going on behind each IDENTIFY; normalized events.

    As a session does it: a piece that may be a publish like the last one, or one answer, is tried
    as that first.
    """
    parser = CommandParser(limits or Limits())
    events: list[Command] = []
    for piece in pieces:
        topic = next((event.topic for event in reversed(events) if type(event) is Publish), "")
        body = parser.lone_publish(piece, topic)
        if body is not None:
            events.append(Publish(topic, body, None))
            continue
        answer = parser.lone_answer(piece)
        if answer is not None:
            events.append(command_of(answer))
            continue
        new = parser.receive_data(piece)
        events += new
        while new and isinstance(new[-1], Identify):
            new = parser.resume()
            events += new
    if eof:
        events += parser.receive_eof()
    return normalized(events)


def normalized(events: Iterable[object]) -> list[object]:
    """
    Take apart what was put together only because it came in one read.

    A run of FINs becomes its ids, and one of NOPs a single one; the announcement of a batch that is
    complete is left out; errors, which are equal only to themselves, become their lines.
    """
    result: list[object] = []
    for event in events:
        match event:
            case FinishRun(ids):
                result += [("finish", id) for id in ids]
            case Violation(error):
                result.append(("violation", error.line))
            case Nop() if result[-1:] == [event]:
                pass
            case MultiPublish(topic) if result[-1:] == [MultiPublishStart(topic)]:
                result[-1] = event
            case _:
                result.append(event)
    return result


def error_lines(events: Iterable[Command]) -> list[bytes]:
    """Return the lines of the violations."""
    return [event.error.line for event in events if isinstance(event, Violation)]
