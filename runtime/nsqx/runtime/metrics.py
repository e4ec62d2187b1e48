r"""
Prometheus text format 0.0.4, written. No I/O, and no registry of metrics: a daemon counts in its
own fields and says what they are when it is asked.

    body = render([
        counter("nsqlookupd_lookups_total", "Answers to /lookup.", 12),
        gauge("nsqd_channel_depth", "Messages that wait in a channel.", [
            Sample(3, {"topic": "orders", "channel": "mail"}),
        ]),
    ])

    family  := "# HELP" name text, "# TYPE" name kind, sample*
    sample  := name suffix ["{" label="value", .. "}"] value
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nsqx.runtime.numbers import Behaviour, Number

__all__ = ["CONTENT_TYPE", "Family", "Sample", "counter", "gauge", "histogram", "render", "told"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True, frozen=True)
class Sample:
    """One number. ``suffix`` is what histograms append to the name of their family."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(slots=True, frozen=True)
class Family:
    """All samples of one name."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def gauge(name: str, help: str, samples: float | Iterable[Sample]) -> Family:
    """Describe what goes up and down."""
    return Family(name, "gauge", help, _as_samples(samples))


def counter(name: str, help: str, samples: float | Iterable[Sample]) -> Family:
    """Describe what only grows while the process lives. The name should end in ``_total``."""
    return Family(name, "counter", help, _as_samples(samples))


def told(number: Number, samples: float | Iterable[Sample]) -> Family:
    """Describe a number of the table of numbers."""
    make = counter if number.kind is Behaviour.COUNTER else gauge
    return make(number.metric, number.help, samples)


def histogram(
    name: str, help: str, counts: Mapping[float, int], total: float, labels: Mapping[str, str]
) -> Family:
    """
    Describe a distribution.

    Args:
        counts: how many values were in each bucket, by the bucket's upper bound, in rising order;
            the last bound is ``math.inf``. Not cumulative: that is done here.
        total: the sum of all values.
    """
    samples: list[Sample] = []
    count = 0
    for bound, in_bucket in counts.items():
        count += in_bucket
        samples.append(Sample(count, {**labels, "le": _number(bound)}, "_bucket"))
    samples += [Sample(total, labels, "_sum"), Sample(count, labels, "_count")]
    return Family(name, "histogram", help, samples)


def render(families: Iterable[Family]) -> bytes:
    """Return the body of a scrape. Costs one line per sample."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escape(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{family.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}"
            for sample in family.samples
        ]
    return "".join(f"{line}\n" for line in lines).encode()


def _as_samples(samples: float | Iterable[Sample]) -> Iterable[Sample]:
    return [Sample(samples)] if isinstance(samples, int | float) else samples


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _quoted(value: str) -> str:
    return _escape(value).replace('"', r"\"")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if isinstance(value, int) or math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
