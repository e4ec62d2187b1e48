"""
An ``Nsq`` that lives as long as an ASGI application. Needs no framework::

    app = FastAPI(lifespan=nsq_lifespan(nsq))          # Starlette takes the same argument

    @app.post("/orders", status_code=202)
    async def create(order: Order, nsq: Annotated[Nsq, Depends(get_nsq)]) -> None:
        await nsq.publish("orders", order)
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from nsqx.client import Nsq

__all__ = ["get_nsq", "nsq_lifespan"]

STATE = "nsq"

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


class Connection(Protocol):
    """A request or web socket, as Starlette and FastAPI have it."""

    @property
    def state(self) -> Any: ...


def nsq_lifespan(
    nsq: Nsq, then: Lifespan | None = None
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """
    Return a lifespan that opens ``nsq`` and runs its handlers.

    When the application ends, they are drained, and it is closed. ``request.state.nsq`` is ``nsq``.

    Args:
        nsq: opened by this.
        then: another lifespan, within this one.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(nsq.running())
            state = await stack.enter_async_context(then(app)) if then is not None else None
            yield {**(state or {}), STATE: nsq}

    return lifespan


def get_nsq(request: Connection) -> Nsq:
    """Return the ``Nsq`` of the application that a request came to."""
    nsq: Nsq = getattr(request.state, STATE)
    return nsq
