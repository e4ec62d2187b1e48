"""nsqd's HTTP API (HTTP section 2)."""

from typing import TYPE_CHECKING

from nsqx.runtime.http import Answer, Handler, Request, Router, plain_text

if TYPE_CHECKING:
    from nsqx.nsqd.daemon import Nsqd

__all__ = ["HttpApi"]


class HttpApi:
    """The endpoints of one node."""

    def __init__(self, nsqd: "Nsqd") -> None:
        self._nsqd = nsqd

    def router(self) -> Router[Handler]:
        """Return the routes."""
        router: Router[Handler] = Router()
        router.add("GET", "/ping", self._ping)
        return router

    async def _ping(self, request: Request) -> Answer:
        health = self._nsqd.broker.health
        return plain_text(health, 200 if health == "OK" else 500)
