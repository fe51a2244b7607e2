"""What the server tells as it happens: asking it for changes costs it, and what runs beside it, far more."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter

AGAIN_SECONDS = 10.0  # after which a server that tells nothing is asked to tell again


@asynccontextmanager
async def events_of(what: EventFilter, log: Callable[[str], None]) -> AsyncGenerator[asyncio.Event]:
    """Set whenever the server sends an event of `what`, and once it begins to; clear it before you look.

    Events can get lost: look now and then without. `log` is told, once, when the server sends none.
    """
    arrived = asyncio.Event()
    listener = asyncio.create_task(_listen(what, arrived, log))
    try:
        yield arrived
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _listen(what: EventFilter, arrived: asyncio.Event, log: Callable[[str], None]) -> None:
    told = False
    while True:
        try:
            async with get_events_subscriber(what, reconnect_on_clean_close=True) as events:
                arrived.set()  # what happened before it began
                async for _ in events:
                    arrived.set()
        except Exception as error:  # things go on whether we hear of them or not
            if not told:
                log(f"no events from the server ({type(error).__name__}: {error}): asking it now and then")
            told = True
        await asyncio.sleep(AGAIN_SECONDS)
