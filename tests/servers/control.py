"""The estate's control port: how tests reset it, switch faults on, turn regions dark and read what was asked of whom.

| request | does |
|---|---|
| GET /estate | what estate.json says, as of now |
| GET /state | weights, failover object, workloads, pods, Secret, databases: asked of the servers |
| GET /requests[?since=N][&mutating=1] | the requests seen since the last reset, oldest first |
| DELETE /requests | forgets them |
| GET, POST, DELETE /faults | lists, adds (`faults.py` has the form), clears |
| POST /dark {"endpoint": "us-east-1.*", "dark": true} | turns endpoints dark or lights them |
| POST /options {"capacity": 3, "broken": {"api-gateway": "ImagePullBackOff"}, "transition_seconds": 1} | at once |
| POST /sql {"instance": "phoenix-prod", "sql": "select 1"} | one value, as superuser, at that server |
| POST /restart {"instance": "phoenix-dr-replica"} | stops that PostgreSQL server and starts it again |
| … with "overwrite": [{"file": "base/5/1259", "at": 8592, "hex": "5a"}] | changes bytes of its files in between |
| POST /reset {"restore_only": true} | everything as at the beginning, with the options named |
| POST /follow | from moto only: makes PostgreSQL follow what RDS was asked for |
"""

import json
import threading
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .common import free_port


class ControlServer:
    def __init__(self, estate):
        port = free_port()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler(estate))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{port}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, name="control", daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def requests(estate, arguments):
    found = estate.proxy.log.since(int(arguments.get("since", 0)))
    if arguments.get("mutating"):
        found = [entry for entry in found if entry["mutating"]]
    return found


def restart(estate, body):
    server = estate.fleet.servers[body["instance"]]
    server.stop()
    # A server that runs could write the page itself and so heal it.
    for change in body.get("overwrite", []):
        with open(server.data / change["file"], "r+b") as file:
            file.seek(change["at"])
            file.write(bytes.fromhex(change["hex"]))
    server.resume()
    return server.facts()


def routes(estate):
    proxy = estate.proxy
    return {
        ("GET", "/estate"): lambda arguments, body: estate.facts(),
        ("GET", "/state"): lambda arguments, body: estate.state(),
        ("GET", "/requests"): lambda arguments, body: requests(estate, arguments),
        ("DELETE", "/requests"): lambda arguments, body: proxy.log.clear() or {},
        ("GET", "/faults"): lambda arguments, body: proxy.faults.active,
        ("POST", "/faults"): lambda arguments, body: proxy.faults.add(body),
        ("DELETE", "/faults"): lambda arguments, body: proxy.faults.clear() or {},
        ("POST", "/dark"): lambda arguments, body: {"changed": estate.set_dark(body["endpoint"], body["dark"])},
        ("POST", "/options"): lambda arguments, body: estate.set_options(body),
        ("POST", "/sql"): lambda arguments, body: {
            "value": estate.fleet.servers[body["instance"]].query(body["sql"])},
        ("POST", "/restart"): lambda arguments, body: restart(estate, body),
        ("POST", "/reset"): lambda arguments, body: estate.reset(body),
        ("POST", "/follow"): lambda arguments, body: estate.follow(body["event"], body["instance"], body.get("was")),
    }


def handler(estate):
    class Control(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self):
            path, _, query = self.path.partition("?")
            arguments = dict(urllib.parse.parse_qsl(query))
            text = self.rfile.read(int(self.headers.get("content-length") or 0))
            route = routes(estate).get((self.command, path))
            if route is None:
                self.reply(404, {"error": f"no {self.command} {path}; see tests/servers/control.py"})
                return
            try:
                self.reply(200, route(arguments, json.loads(text or b"{}")))
            except (ValueError, TypeError, KeyError) as error:
                self.reply(400, {"error": f"{type(error).__name__}: {error}"})
            except Exception as error:
                self.reply(500, {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})

        do_GET = do_POST = do_DELETE = handle_request

        def reply(self, status, body):
            text = json.dumps(body, default=str).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Requests to the control port are not part of any test's subject."""

    return Control
