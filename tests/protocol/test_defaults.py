"""One default for whoever assumes it: a broker that is told nothing, and a client that is, too."""

from nsqx.client.session import Negotiated
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol import defaults
from nsqx.protocol.command_parser import Limits
from nsqx.protocol.identify import NegotiationOptions

MILLISECOND_NS = 1_000_000


def test_all_have_the_same() -> None:
    options, offered, limits = NsqdOptions(), NegotiationOptions(), Limits()
    counts = {
        options.max_rdy_count,
        offered.max_rdy_count,
        limits.max_rdy_count,
        Negotiated().max_rdy_count,
        defaults.MAX_RDY_COUNT,
    }
    assert counts == {2500}
    assert options.max_msg_size == limits.max_msg_size == defaults.MAX_MSG_SIZE
    assert options.max_body_size == limits.max_body_size == defaults.MAX_BODY_SIZE
    assert options.msg_timeout == offered.msg_timeout_ms * MILLISECOND_NS
    assert options.max_msg_timeout == offered.max_msg_timeout_ms * MILLISECOND_NS
    assert options.max_req_timeout == limits.max_req_timeout_ms * MILLISECOND_NS
