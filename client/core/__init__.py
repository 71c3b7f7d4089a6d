"""The client core: a session, its requests and its watches, sans IO.

No clock, no dice, no tasks, no sockets: whoever drives it says what time it is (``now``, seconds of any monotonic
clock), brings the bytes that arrived, and sends the bytes it asks for. The async library beside it drives one;
so does a load generator, without a task for each request::

    core = Core(CoreSettings(name="bench"))
    core.connected(now)                           # a stream to some member is up
    loop:
        request = core.write(Set("/a", b"x").row())           # as many as wanted, at any time
        request = core.read(Get("/a").row(), mode=ReadMode.LINEARIZABLE)
        data = core.take_bytes()                  # all there is to send now: one frame of writes, one of reads
        send(data); core.received(receive(), now)
        for request in core.take_completed():     # in the order of their answers
            request.context, request.error, request.reply, request.result()
        core.tick(now)                            # deadlines, keepalives
    core.disconnected(now)                        # the stream is gone: connect again, to any member

In: ``connected``, ``received``, ``disconnected``, ``tick`` (at ``next_tick_at()``, or more often), ``write``,
``read``, ``abandon``, ``watch``, ``unwatch``, ``taken``, ``end_session``, ``close``. Out: ``take_bytes``,
``take_completed``, ``take_woken`` (watches with news), ``take_states``, and ``hang_up``: when it is set, drop the
stream and call ``disconnected``. Nothing raises but ``write``, ``read``, ``watch`` and ``end_session``, what is refused
before it is sent.
"""

from coord.client.core.conversation import OVER, State
from coord.client.core.engine import Core
from coord.client.core.request import NEVER, Request
from coord.client.core.settings import CoreSettings
from coord.client.core.watching import Watching

__all__ = ["NEVER", "OVER", "Core", "CoreSettings", "Request", "State", "Watching"]
