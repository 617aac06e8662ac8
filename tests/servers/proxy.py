"""The one way into every server of the estate: logs each request, lets tests inject faults, and can go dark.

Every endpoint that the estate file names is a port here, so requests are counted where they arrive, whatever sent
them. Each connection carries one request and is then closed: that keeps the forwarding simple enough to be trusted.
"""

import asyncio
import contextlib
import datetime
import fnmatch
import json
import threading

from . import faults
from .classify import classify
from .dark import DarkPort

HEAD_LIMIT = 256 * 1024


class Endpoint:
    """One port: its name is `REGION.SERVICE`."""

    def __init__(self, name, service, region, host, port, upstream=None, tls=None, upstream_tls=None):
        self.name, self.service, self.region, self.host, self.port = name, service, region, host, port
        self.upstream, self.tls, self.upstream_tls = upstream, tls, upstream_tls
        self.dark_port, self.server = None, None
        self.lit = asyncio.Event()

    def facts(self):
        return {"host": self.host, "port": self.port, "dark": self.dark_port is not None}


class Log:
    """Requests in memory for the control port, and line by line in a file for people."""

    def __init__(self, path):
        self.entries, self.lock = [], threading.Lock()
        self.file = open(path, "a", encoding="utf-8", buffering=1)

    def request(self, facts):
        with self.lock:
            entry = {"n": len(self.entries) + 1, "time": stamp(), **facts, "status": None, "fault": None}
            self.entries.append(entry)
            self.file.write(json.dumps(entry) + "\n")
            return entry

    def outcome(self, entry, **facts):
        with self.lock:
            entry.update(facts)
            self.file.write(json.dumps({"n": entry["n"], **facts}) + "\n")

    def since(self, number):
        with self.lock:
            return [dict(entry) for entry in self.entries[number:]]

    def clear(self):
        with self.lock:
            self.entries.clear()


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


class Request:
    def __init__(self, method, target, headers, raw_headers, body):
        self.method, self.target, self.headers, self.raw_headers, self.body = method, target, headers, raw_headers, body

    @classmethod
    async def read(cls, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        method, target, _ = first.split(" ", 2)
        raw = [tuple(line.split(":", 1)) for line in lines]
        headers = {name.strip().lower(): value.strip() for name, value in raw}
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await unchunk(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length") or 0))
        return cls(method, target, headers, raw, body)

    def forwarded(self):
        """The same request with its body's length known and the connection to be closed after it."""
        dropped = ("connection", "keep-alive", "content-length", "transfer-encoding", "expect")
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}:{value}" for name, value in self.raw_headers if name.strip().lower() not in dropped]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(self.body)}")
        lines.append("connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


async def unchunk(reader):
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():  # trailers
        pass
    return bytes(body)


class Proxy:
    """All endpoints, on an event loop in a thread of its own. The public methods may be called from any thread."""

    def __init__(self, log_path):
        self.endpoints, self.faults, self.log = {}, faults.Faults(), Log(log_path)
        self.loop, self.tasks = asyncio.new_event_loop(), set()
        threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True).start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def add(self, endpoint, dark=False):
        self.endpoints[endpoint.name] = endpoint
        self.call(self.switch(endpoint, dark))

    def set_lights(self, dark):
        """Exactly these endpoints dark; one that is so already is not touched, not even for a moment."""
        for name, endpoint in self.endpoints.items():
            self.call(self.switch(endpoint, name in dark))

    def set_dark(self, pattern, dark):
        """Endpoints by shell pattern; answers the names it changed."""
        found = [item for name, item in self.endpoints.items() if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(f"no endpoint matches {pattern!r}; there are {sorted(self.endpoints)}")
        for endpoint in found:
            self.call(self.switch(endpoint, dark))
        return [endpoint.name for endpoint in found]

    def stop(self):
        for endpoint in self.endpoints.values():
            self.call(self.close(endpoint))
        self.call(self.drop_connections())
        self.loop.call_soon_threadsafe(self.loop.stop)

    @staticmethod
    async def drop_connections():
        """Ends what still waits for an answer or for light."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def close(self, endpoint):
        if endpoint.dark_port is not None:
            endpoint.dark_port.close()
            endpoint.dark_port = None
        if endpoint.server is not None:
            endpoint.server.close()
            endpoint.server = None

    async def switch(self, endpoint, dark):
        """What is connected when the lights go out is not closed: it just hears nothing more."""
        as_wanted = dark == (endpoint.dark_port is not None) and dark != endpoint.lit.is_set()
        if as_wanted and (dark or endpoint.server is not None):
            return
        await self.close(endpoint)
        if dark:
            endpoint.lit.clear()
            endpoint.dark_port = DarkPort(endpoint.host, endpoint.port)
            return
        endpoint.lit.set()
        carry = self.carry_bytes if endpoint.service == "postgres" else self.carry_request
        endpoint.server = await asyncio.start_server(
            lambda reader, writer: self.guarded(carry, endpoint, reader, writer), endpoint.host, endpoint.port,
            ssl=endpoint.tls, limit=HEAD_LIMIT, backlog=512)

    def shut(self, name):
        """Nobody new gets in, as where a security group lets nothing in; what is connected goes on."""
        self.call(self.bar(self.endpoints[name]))

    async def bar(self, endpoint):
        if endpoint.dark_port is None:
            await self.close(endpoint)
            endpoint.dark_port = DarkPort(endpoint.host, endpoint.port)

    def open(self, name):
        self.call(self.switch(self.endpoints[name], False))

    async def guarded(self, carry, endpoint, reader, writer):
        # The loop itself holds tasks weakly: one that waits for a caller long gone would be collected with a complaint.
        self.tasks.add(asyncio.current_task())
        try:
            await carry(endpoint, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, OSError, ValueError):
            pass  # the caller or the server went away; both are logged where it matters
        finally:
            self.tasks.discard(asyncio.current_task())
            with contextlib.suppress(Exception):
                writer.close()

    async def carry_bytes(self, endpoint, reader, writer):
        """A database connection: bytes both ways for as long as the endpoint is lit."""
        remote_reader, remote_writer = await asyncio.open_connection(*endpoint.upstream)
        both = {asyncio.ensure_future(pump(endpoint, reader, remote_writer)),
                asyncio.ensure_future(pump(endpoint, remote_reader, writer))}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            remote_writer.close()

    async def carry_request(self, endpoint, reader, writer):
        request = await Request.read(reader, writer)
        await endpoint.lit.wait()
        facts = classify(endpoint.service, endpoint.region, request.method, request.target, request.headers,
                         request.body)
        entry = self.log.request({"endpoint": endpoint.name, **facts})
        fault = self.faults.meet(facts)
        if fault is not None:
            self.log.outcome(entry, fault=f"{fault['id']} {fault['action']}")
            if not await self.inflict(fault, endpoint, reader, writer, entry):
                return
        if endpoint.upstream is None:
            # AWS Health: nobody here has a support plan
            writer.write(faults.answer(endpoint.service, 400, "SubscriptionRequiredException",
                                       "AWS Premium Support Subscription is required to use this service."))
            self.log.outcome(entry, status=400)
            await writer.drain()
            return
        remote_reader, remote_writer = await asyncio.open_connection(
            *endpoint.upstream, ssl=endpoint.upstream_tls, limit=HEAD_LIMIT)
        try:
            remote_writer.write(request.forwarded())
            await remote_writer.drain()
            if fault is not None and fault["action"] in ("lost", "hold"):
                await remote_reader.read()  # to the end: what was asked for has been done
                self.log.outcome(entry, status=0)
                fault["done"] = fault.get("done", 0) + 1
                if fault["action"] == "hold":
                    await reader.read()  # until the caller is gone
                writer.transport.abort()
                return
            head = await response_head(remote_reader)
            self.log.outcome(entry, status=int(head.split(b" ", 2)[1]))
            writer.write(head)
            await pump(endpoint, remote_reader, writer)
        finally:
            remote_writer.close()

    async def inflict(self, fault, endpoint, reader, writer, entry):
        """True when the request is to be forwarded nevertheless."""
        action = fault["action"]
        if action == "delay":
            await asyncio.sleep(fault.get("seconds", 1))
        elif action == "drop":
            await reader.read()  # until the caller gives up
            return False
        elif action == "reset":
            writer.transport.abort()
            return False
        elif action in ("throttle", "error"):
            status, code, message = faults.refusal(endpoint.service, fault)
            writer.write(faults.answer(endpoint.service, status, code, message))
            await writer.drain()
            self.log.outcome(entry, status=status)
            return False
        return True


async def response_head(reader):
    """The head of the answer, saying that the connection ends with it; interim answers are left out."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 100"):
            break
    lines = [line for line in head.split(b"\r\n")[:-2]
             if not line.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n"


async def pump(endpoint, reader, writer):
    """Until either side ends; how it ends is for the two sides to notice, not for the proxy."""
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            await endpoint.lit.wait()
            writer.write(data)
            await writer.drain()
