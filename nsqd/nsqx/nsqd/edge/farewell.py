"""What the log says of a client that is gone: who it was, what it did here, and why it went."""

from nsqx.nsqd.core.session import Session

__all__ = ["facts", "reason"]

TOPICS_MAX = 5  # that a producer has published to


def reason(session: Session, error: Exception | None) -> str:
    """Return why a connection ended, before its session is told."""
    if session.end_reason:
        return session.end_reason
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    if error is not None:
        return str(error)
    topic, channel = session.topic, session.channel
    if topic is not None and channel is not None and topic.channels.get(channel.name) != channel:
        return "its channel was deleted"
    return "the client closed"


def facts(session: Session) -> dict[str, str]:
    """Return who it was, and the topics and the channel it had to do with."""
    known = {}
    if session.first_identified is not None:
        known["client_id"] = session.client_id
        known["user_agent"] = session.user_agent
    if session.topic is not None and session.channel is not None:
        known |= {"topic": session.topic.name, "channel": session.channel.name}
    published = list(session.publish_counts)
    if published:
        rest = len(published) - TOPICS_MAX
        more = [f"and {rest} more"] if rest > 0 else []
        known["published_to"] = ",".join(published[:TOPICS_MAX] + more)
    return {name: value for name, value in known.items() if value}
