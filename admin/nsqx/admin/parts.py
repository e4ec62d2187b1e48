"""Puts the parts of the dashboard together: what needs what, in one place."""

from nsqx.runtime.durations import SECOND_NS
from nsqx.runtime.http import Handler, Router
from nsqx.runtime.version import VERSION

from .access import Access, Role, parse_networks
from .audit import AuditTrail
from .cluster import Cluster
from .collector import Collector
from .credentials import Credentials
from .gate import Gate
from .http_api import HttpApi
from .hub import Hub
from .options import AdminOptions
from .tail import Tails
from .upstream import Upstream
from .v2_api import V2Api
from .v2_documents import DocumentEndpoints
from .watch import Watch

__all__ = ["Parts", "make_router"]


class Parts:
    """What lives as long as the dashboard runs."""

    def __init__(
        self,
        options: AdminOptions,
        upstream: Upstream,
        collector: Collector,
        lookupds: list[str],
    ) -> None:
        self.options = options
        self.upstream = upstream
        self.collector = collector
        self.lookupds = lookupds
        self.audit = AuditTrail()
        self.hub = Hub(collector, Watch(options.oldest_age_warning / SECOND_NS), self.audit)
        self.tails = Tails(lambda: self.hub.view, lookupds)
        self.gate = Gate(make_access(options), options.allowed_origin)


def make_access(options: AdminOptions) -> Access:
    """
    Return the rules of who may do what.

    Raises:
        OSError, ValueError: a file of credentials cannot be read or is wrong.
    """
    return Access(
        header=options.acl_http_header,
        trusted=parse_networks(options.acl_trusted_cidr),
        admins=frozenset(options.admin_user),
        operators=frozenset(options.operator_user),
        credentials=Credentials.read(options.auth_token_file, options.auth_basic_file),
        read_only=options.read_only,
        message_role=Role.parse(options.message_role),
    )


def make_router(parts: Parts) -> Router[Handler]:
    """Return all routes."""
    options = parts.options
    facts = {
        "base_path": options.base_path,
        "version": VERSION,
        "has_lookupds": bool(options.lookupd_http_address or options.discover),
        "history_seconds": 86400,
        "interval": options.poll_interval / SECOND_NS,
    }
    documents = DocumentEndpoints(parts.hub, parts.tails, parts.gate, facts)
    router: Router[Handler] = Router(options.base_path)
    cluster = Cluster(parts.upstream, parts.lookupds, options.nsqd_http_address)
    HttpApi(cluster, parts.gate).add_to(router)
    V2Api(parts.gate, documents).add_to(router)
    return router
