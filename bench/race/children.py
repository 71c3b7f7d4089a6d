"""Many children of one parent: ``python -m race.children --count 100000 --endpoints …``

Makes so many, then lists pages of 50 from anywhere in the first third of them, and then creates more, for some seconds
each.
Frames are written by hand, as in ``coord bench``. Prints one line of JSON: both rates.
"""

import argparse
import json
import random
import time
from collections.abc import Callable

from coord.api.errors import OK
from coord.api.ops import Create, List, ReadMode, Row
from coord.wire.client_frames import Replies, encode_reads, encode_writes
from race.fanout import Connection

PAGE = 50
NAMES = 999_983
"""A prime: the multiples of another one are all different, and spread evenly."""
STEP = 7_919
PER_FRAME = 64
FRAMES_IN_FLIGHT = 8

Encode = Callable[[int, list[tuple[int, Row]]], bytes]
"""How many are unanswered, and what is asked now -> a frame."""


def ask(
    connection: Connection, encode: Encode, row: Callable[[int], Row], count: int, per_frame: int
) -> None:
    """``row(0)`` to ``row(count - 1)``, with some frames on their way at once."""
    asked = answered = 0
    while answered < count:
        while asked < count and asked - answered < FRAMES_IN_FLIGHT * per_frame:
            upto = min(asked + per_frame, count)
            requests = [(next(connection.ids), row(at)) for at in range(asked, upto)]
            connection.socket.sendall(encode(asked - answered, requests))
            asked = upto
        for frame in connection.frames():
            if isinstance(frame, Replies):
                answered += len(frame.rows)
                for each in frame.rows:
                    if each[1] != OK:
                        raise SystemExit(f"a member refused a request: {each[4]}")


def rate(seconds: float, lot: int, some: Callable[[int], None]) -> float:
    """How many a second; ``some(n)``: n more."""
    began = time.monotonic()
    done = 0
    while time.monotonic() - began < seconds:
        some(lot)
        done += lot
    return done / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each of both")
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    connection = Connection(arguments.endpoints.split(",")[0])
    parent = f"/children-{time.time_ns()}"
    connection.make([parent], b"")
    made = 0

    def creates(count: int) -> None:
        nonlocal made
        start = made
        ask(
            connection,
            # Answers come in the order of the ids, so what is unanswered are the last ones before these.
            lambda unanswered, requests: encode_writes(requests[0][0] - unanswered - 1, requests),
            lambda at: Create(f"{parent}/{(start + at) * STEP % NAMES:06}", bytes(100)).row(),
            count,
            PER_FRAME,
        )
        made += count

    def pages(count: int) -> None:
        ask(
            connection,
            lambda _, requests: encode_reads(ReadMode.LINEARIZABLE, 0, requests),
            # Of the fewest children there are, more than a page comes after these.
            lambda _: List(parent, limit=PAGE, after=f"{random.randrange(NAMES // 3):06}").row(),
            count,
            1,
        )

    creates(arguments.count)
    listed = rate(arguments.seconds, 64, pages)
    row = {"list": listed, "create": rate(arguments.seconds, 640, creates)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
