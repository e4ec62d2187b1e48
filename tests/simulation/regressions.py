"""Seeds that found a defect, each with what it was; they are run by every `make test`."""

from collections.abc import Collection
from dataclasses import dataclass

from tests.simulation.plan import FIRST_CHANGE, FIRST_PAUSE

__all__ = ["REGRESSIONS", "Regression"]


@dataclass(frozen=True, slots=True)
class Regression:
    """A seed, as far as it is needed, and what it found."""

    seed: int
    minutes: float
    found: str
    actions: Collection[int] = range(FIRST_CHANGE)  # the plans of those days had no others


REGRESSIONS = (
    Regression(
        54,
        4.0,
        "a loss of power forgot which messages of a removed segment were finished",
        {9, 10},
    ),
    # And another one, when reads were other ones: a deferred message whose index record had been
    # damaged was forgotten at the end of a pause.
    Regression(11, 8.9, "a lost message that waits or is deferred raised KeyError"),
    Regression(40, 6.0, "a straggler's FIN was forgotten and its copy gone"),
    Regression(43, 2.0, "what was written before kill -9 was never synced", {1, 8}),
    Regression(133, 2.0, "and forgotten for good by a second crash"),
    Regression(156, 4.0, "a segment that could not be removed became a gap"),
    Regression(93, 5.0, "messages below the log's first were looked for in its last segment"),
    Regression(13, 1.0, "a deferred message whose due time was damaged came twice"),
    Regression(67, 3.9, "frames behind a lost page were given the numbers of the first ones"),
    Regression(0, 5.6, "a body with a hole was delivered after a loss of power"),
    Regression(458, 5.3, "an empty segment that the log went beyond became a gap"),
    Regression(1037, 4.5, "a journal that a loss of power brought back was read much later"),
    Regression(2045, 10.0, "a channel stood still at lost messages that the log let go"),
    Regression(2086, 2.3, "a seek while reads failed forgot what was deferred"),
    Regression(1142, 5.7, "each restart delivered again what damage had made doubtful"),
    Regression(507, 10.0, "what damage had made doubtful was both deferred and waiting"),
    Regression(
        112369271202,
        4.0,
        "a deleted channel without a checkpoint came back",
        {0, 1, 6, 7, 10, 11, *range(FIRST_PAUSE + 3, FIRST_PAUSE + 7)},
    ),
    Regression(
        62013715492,
        3.0,
        "an empty segment that could not be begun again took the log's place with it",
        range(2 * FIRST_PAUSE),
    ),
    Regression(
        651,
        7.5,
        "a damaged body was delivered as its index record was damaged, too",
        range(FIRST_PAUSE),
    ),
    Regression(
        10,
        3.0,
        "a disk that went on refusing had a broker look at all its topics again, without an end",
        range(2 * FIRST_PAUSE),
    ),
    Regression(119, 9.6, "a channel that the disk had refused ended a stop", range(FIRST_PAUSE)),
)
