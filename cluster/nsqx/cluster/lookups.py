"""Asks nsqlookupds who is there: nodes, the nodes of a topic, names of topics and channels."""

from collections.abc import Iterable
from urllib.parse import urlencode

from nsqx.cluster.answers import (
    ChannelsAnswer,
    LookupAnswer,
    NodesAnswer,
    Producer,
    TopicsAnswer,
)
from nsqx.cluster.http import Answers, AnswerType, DaemonHttp, StatusError

__all__ = ["channels_of", "list_nodes", "list_topics", "lookup"]


async def list_nodes(http: DaemonHttp, lookupds: Iterable[str]) -> list[Producer]:
    """
    Return all nsqds that any of them lists, each once.

    Raises:
        DaemonError: none of them could be asked.
    """
    answers = _any(await http.ask_all(lookupds, "/nodes", NodesAnswer))
    return _unique(producer for answer in answers for producer in answer.nodes)


async def list_topics(http: DaemonHttp, lookupds: Iterable[str]) -> set[str]:
    """
    Return the topics that any of them knows.

    Raises:
        DaemonError: none of them could be asked.
    """
    answers = _any(await http.ask_all(lookupds, "/topics", TopicsAnswer))
    return {topic for answer in answers for topic in answer.topics or ()}


async def lookup(http: DaemonHttp, lookupds: Iterable[str], topic: str) -> list[Producer]:
    """
    Return the nsqds that have a topic, those that drain, too, each once; none if nobody knows it.

    Raises:
        DaemonError: one of them could not be asked, so that some nsqds may be missing.
    """
    path = f"/lookup?{urlencode({'topic': topic, 'draining': 'true'})}"
    answers = await http.ask_all(lookupds, path, LookupAnswer)
    for error in answers.errors.values():
        if not (isinstance(error, StatusError) and error.status == 404):  # TOPIC_NOT_FOUND
            raise error
    return _unique(producer for each in answers.by_address.values() for producer in each.nodes)


async def channels_of(
    http: DaemonHttp, lookupds: Iterable[str], topic: str
) -> Answers[ChannelsAnswer]:
    """Return the channels of a topic, as each of them knows them, and who could not be asked."""
    return await http.ask_all(lookupds, f"/channels?{urlencode({'topic': topic})}", ChannelsAnswer)


def _any(answers: Answers[AnswerType]) -> list[AnswerType]:
    """
    Return the answers.

    Raises:
        DaemonError: there are none, only failures.
    """
    if answers.errors and not answers.by_address:
        raise next(iter(answers.errors.values()))
    return list(answers.by_address.values())


def _unique(producers: Iterable[Producer]) -> list[Producer]:
    return list({producer.http_address: producer for producer in producers}.values())
