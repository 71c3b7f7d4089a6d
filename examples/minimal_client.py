"""A coord client in plain Python, with the standard library only: written from docs/PROTOCOL.md alone.

It is here to be read, and to prove that page. It opens a session, creates, sets, gets, lists, runs a multi, watches,
keeps its session alive, and when its connection breaks it resumes at another member: every write happens exactly
once, every event is told exactly once. One thread, and calls wait, without a deadline. (Real programs want
``coord.client``, which does much more.)

    python examples/minimal_client.py 127.0.0.1:4711
"""

import random
import socket
import struct
import sys
import time

HELLO, WRITES, READS, WATCH, _UNWATCH, KEEPALIVE, END_SESSION = range(1, 8)
WELCOME, REPLIES, EVENTS, WATCH_ENDED, GOODBYE = range(129, 134)
CREATE, SET, DELETE, GET, _EXISTS, LIST, MULTI = range(1, 8)
SESSION_ENDED, OVERLOADED, PROTOCOL_ERROR = 30, 41, 50
ZNODE, CHILDREN, SUBTREE = 1, 2, 3  # scopes of watches


class CoordError(Exception):
    def __init__(self, code, message, details=None):
        super().__init__(f"{message} ({code})")
        self.code, self.details = code, details or {}


# --- CBOR, as much as the protocol uses (§3) -----------------------------------------------------


def head(major, number):
    for more, size, form in ((24, 1, ">B"), (25, 2, ">H"), (26, 4, ">I"), (27, 8, ">Q")):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << 8 * size:
            return bytes([major << 5 | more]) + struct.pack(form, number)
    raise ValueError(f"{number} is too large")


def encode(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(4, len(value)) + b"".join(encode(each) for each in value)


def decode(data, at=0):
    """The value at ``at``, and where the next one begins."""
    major, number = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return {20: False, 21: True, 22: None}[number], at
    if number >= 24:
        size = 1 << (number - 24)
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major in (0, 1):
        return (number if major == 0 else -1 - number), at
    if major in (2, 3):
        raw = data[at : at + number]
        return (raw if major == 2 else raw.decode()), at + number
    items = []
    for _ in range(number * (major - 3)):  # an array's items (4), or a map's keys and values (5)
        item, at = decode(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2], strict=True))), at


# --- the client ----------------------------------------------------------------------------------


class Watch:
    def __init__(self, number, path, scope):
        self.number, self.path, self.scope = number, path, scope
        self.next_revision = None  # where to go on after a reconnect; None: it was never opened
        self.open = False
        self.ended = None
        self.events = []  # (revision, change), to be taken by whoever watches


class Client:
    """``members``: addresses to begin with. Times are seconds on the monotonic clock."""

    def __init__(self, members, timeout_ms=10_000, name="minimal"):
        self.members, self.asked_ms, self.name = list(members), timeout_ms, name
        self.session = self.secret = self.cluster = None
        self.timeout = timeout_ms / 1000
        self.safe_until = 0.0
        self.last_id = 0
        self.unanswered = {}  # id -> op: writes that were sent and not answered, in order
        self.reads = {}  # id -> op
        self.replies = {}  # id -> the reply's row, until its caller takes it
        self.other = {}  # id of a WATCH, UNWATCH, END_SESSION or KEEPALIVE -> what it was about
        self.watches = {}
        self.keepalive = None  # (id, when it was sent) of the one that is not answered yet
        self.socket, self.buffer = None, b""
        self.connect()

    # --- what it is for ---

    def call(self, op):
        """Do one op, in whatever connection it takes. The reply's ``(result, revision)``."""
        request = self.next_id()
        waiting = self.unanswered if op[0] in (CREATE, SET, DELETE, MULTI) else self.reads
        waiting[request] = op
        self.try_to(self.send_write if waiting is self.unanswered else self.send_read, request)
        while request not in self.replies:
            self.pump()
        row = self.replies.pop(request)
        if row[1]:
            raise CoordError(row[1], row[4], row[5])
        return row[4], row[2]

    def create(self, path, value=b"", kind=0, flags=0, ttl_ms=0):
        return self.call([CREATE, path, value, kind, flags, ttl_ms])

    def set(self, path, value, version=None, flags=0):
        return self.call([SET, path, value, version, None, flags])

    def get(self, path):
        return self.call([GET, path, None, None])

    def list(self, path):
        names, after, more = [], None, True
        while more:
            (page, more), _ = self.call([LIST, path, 0, 1000, after])
            names += [name for name, _, _ in page]
            after = names[-1] if names else None
        return names

    def multi(self, compare, then, otherwise=()):
        return self.call([MULTI, list(compare), list(then), list(otherwise)])

    def watch(self, path, scope=SUBTREE, from_revision=None):
        number = max(self.watches, default=0) + 1
        watch = self.watches[number] = Watch(number, path, scope)
        watch.next_revision = from_revision
        self.try_to(self.send_watch, watch)
        while not watch.open and not watch.ended:
            self.pump()
        if watch.ended:
            raise watch.ended
        return watch

    def next_event(self, watch, seconds):
        """The next ``(revision, change)``; ``None`` when there was none for so long."""
        until = time.monotonic() + seconds
        while not watch.events and not watch.ended and time.monotonic() < until:
            self.pump(until)
        if not watch.events and watch.ended:
            raise watch.ended
        return watch.events.pop(0) if watch.events else None

    def close(self):
        """End the session: its ephemerals go now."""
        request = self.next_id()
        try:
            while request not in self.replies:
                if request not in self.other:
                    self.other[request] = "end"
                    self.try_to(self.send, END_SESSION, [request])
                self.pump()
        except CoordError as error:
            if error.code != SESSION_ENDED:
                raise
        self.hang_up()

    # --- connections (§4, §17) ---

    def connect(self):
        """Get a connection with the session on it, at whatever member; then make good what the last one left."""
        pause, first = 0.05, random.randrange(len(self.members))
        for attempt in range(1000):
            if attempt and attempt % len(self.members) == 0:
                time.sleep(pause * random.random())
                pause = min(pause * 2, 1.0)
            try:
                self.greet(self.members[(first + attempt) % len(self.members)])
                return
            except (OSError, EOFError) as error:
                last = error
            except CoordError as error:
                if error.code in (SESSION_ENDED, PROTOCOL_ERROR):
                    self.hang_up()
                    raise
                last = error
        raise last

    def greet(self, address):
        self.hang_up()
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=2)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.keepalive, self.other = b"", None, {}
        for watch in self.watches.values():
            watch.open = False
        sent = time.monotonic()
        session = [self.session, self.secret] if self.session else None
        self.send(HELLO, [1, session, 0 if session else self.asked_ms, self.name, self.cluster])
        frame_type, body = self.receive(sent + (max(self.timeout / 6, 0.5) if session else 15))
        if frame_type == GOODBYE:
            raise CoordError(*body)
        if frame_type != WELCOME:
            raise EOFError("no welcome in time")
        _, self.session, secret, timeout_ms, _, self.member, self.cluster, members = body
        self.secret = secret or self.secret
        self.timeout = timeout_ms / 1000
        self.safe_until = sent + self.timeout
        self.members = list(dict.fromkeys([each for _, each in members] + self.members))
        if self.unanswered:  # first thing: the same writes, in the same order, under the same ids (§10)
            self.send(WRITES, [self.confirmed(), *([each, op] for each, op in self.unanswered.items())])
        for watch in self.watches.values():
            if not watch.ended:
                self.send_watch(watch)
        for request in self.reads:
            self.send_read(request)

    def hang_up(self):
        if self.socket:
            self.socket.close()

    def try_to(self, action, *arguments):
        """A connection that breaks is no failure: all that was asked is asked again on the next one."""
        try:
            action(*arguments)
        except (OSError, EOFError):
            self.connect()

    # --- frames (§2) ---

    def next_id(self):
        self.last_id += 1
        return self.last_id

    def confirmed(self):
        return min(self.unanswered, default=self.last_id + 1) - 1

    def send(self, frame_type, body):
        data = encode(body)
        self.socket.settimeout(self.timeout / 3)
        self.socket.sendall(struct.pack(">IB", len(data) + 1, frame_type) + data)

    def send_write(self, request):
        self.send(WRITES, [self.confirmed(), [request, self.unanswered[request]]])

    def send_read(self, request):
        self.send(READS, [0, 0, [request, self.reads[request]]])

    def send_watch(self, watch):
        request = self.next_id()
        self.other[request] = watch
        self.send(WATCH, [request, watch.number, watch.path, watch.scope, watch.next_revision])

    def receive(self, until):
        """The next frame, or ``(0, None)`` when ``until`` comes first."""
        while len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[:4], "big"):
            self.socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                return 0, None
            if not data:
                raise EOFError("the member closed the connection")
            self.buffer += data
        end = 4 + int.from_bytes(self.buffer[:4], "big")
        frame, self.buffer = self.buffer[4:end], self.buffer[end:]
        return frame[0], decode(frame, 1)[0]

    # --- what comes in ---

    def pump(self, until=None):
        """Take one frame, and keep the session alive meanwhile. Call it often: at least every third of the timeout."""
        now, interval = time.monotonic(), self.timeout / 3
        sent_at = self.keepalive[1] if self.keepalive else self.safe_until - self.timeout
        due = sent_at + interval  # to send one; or, when one is under way, to give this connection up
        try:
            if now >= due:
                if self.keepalive:
                    raise EOFError("the member does not answer")
                self.keepalive = (self.next_id(), now)
                self.send(KEEPALIVE, [self.keepalive[0]])
                due = now + interval
            self.take(*self.receive(min(due, until or due)))
        except (OSError, EOFError):
            self.connect()

    def take(self, frame_type, body):
        if frame_type == REPLIES:
            for row in body:
                self.take_reply(row)
        elif frame_type == EVENTS:
            for revision, _wall_ms, events in body:
                for change, numbers in events:
                    for number in numbers:
                        watch = self.watches.get(number)
                        if watch:
                            watch.events.append((revision, change))
                            watch.next_revision = revision + 1
        elif frame_type == WATCH_ENDED:
            self.watches.pop(body[0]).ended = CoordError(*body[1:])
        elif frame_type == GOODBYE:
            if body[0] in (SESSION_ENDED, PROTOCOL_ERROR):
                self.hang_up()
                raise CoordError(*body)
            raise EOFError(body[1])

    def take_reply(self, row):
        request, code, revision = row[:3]
        about = self.other.pop(request, None)
        if isinstance(about, Watch):
            if code:
                about.ended = CoordError(code, row[4], row[5])
                del self.watches[about.number]
            else:
                about.open = True
                about.next_revision = max(about.next_revision or 0, revision + 1)
            return
        for watch in self.watches.values():
            if watch.open:  # all through this revision was told before this reply came (§12)
                watch.next_revision = max(watch.next_revision, revision + 1)
        if self.keepalive and request == self.keepalive[0]:
            if code == 0:
                self.safe_until = self.keepalive[1] + self.timeout
            self.keepalive = None
        elif about == "end":
            self.replies[request] = row
        elif request in self.unanswered and code == OVERLOADED:
            raise EOFError("this member cannot take it now; another one may, or this one later")
        elif request in self.unanswered or request in self.reads:
            self.unanswered.pop(request, None)
            self.reads.pop(request, None)
            self.replies[request] = row


def main(addresses):
    client = Client(addresses)
    print(f"session {client.session} at member {client.member}, timeout {client.timeout:.0f} s")
    base = f"/minimal-{random.randrange(10**9)}"
    _, revision = client.create(base)
    watch = client.watch(base, SUBTREE, from_revision=revision + 1)
    client.create(f"{base}/config", b"red")
    client.create(f"{base}/me", kind=1)
    version, _ = client.set(f"{base}/config", b"green", version=0)
    (succeeded, results), _ = client.multi(
        [[2, f"{base}/config", 0, version]],
        [[SET, f"{base}/config", b"blue", None, None, 0], [GET, f"{base}/config", None, None]],
    )
    print(f"multi: {succeeded}, the value is now {results[1][0].decode()}")
    client.socket.shutdown(socket.SHUT_RDWR)  # as if the network had done it
    client.set(f"{base}/config", b"black")
    print(
        f"resumed at member {client.member}; {client.get(f'{base}/config')[0][0].decode()}, {client.list(base)}"
    )
    try:
        client.set(f"{base}/config", b"white", version=0)
    except CoordError as error:
        print(f"refused: {error}; actually {error.details['version']}")
    for _ in range(5):
        revision, (kind, path, value, *_) = client.next_event(watch, 10)
        what = {1: "created", 2: "set", 3: "deleted"}[kind]
        print(f"event: {path.removeprefix(base)} {what} {value!r}")
    client.call([DELETE, base, None, None, 1])
    client.close()
    print("the session has ended")


if __name__ == "__main__":
    main(sys.argv[1:] or ["127.0.0.1:4711"])
