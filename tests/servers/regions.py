"""The HTTP side of the regions: what the application's load balancer answers in each.

`/healthz` says that the region's front end lives; a request for the public name is answered only if a ready
phoenix-api pod has a live connection to a database that takes writes, and the answer names the region and that
database. The failed region's front end answers only when the estate is started with it up.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pg8000.dbapi

from .podprocess import ask

IDENTITY = ("select json_build_object('in_recovery', pg_is_in_recovery(), 'read_only', "
            "current_setting('transaction_read_only'), 'system_identifier', "
            "(select system_identifier::text from pg_control_system()), 'address', host(inet_server_addr()), "
            "'port', inet_server_port(), 'timeline', (select timeline_id from pg_control_checkpoint()))::text")


def through_pods(kubelet, app):
    """The first ready pod with a database that takes writes; otherwise every pod's reason."""
    reasons = []
    pods = kubelet.serving(app)
    for pod in pods:
        found = pod.process.query(IDENTITY)
        if found is None:
            reasons.append(f"{pod.name}: not connected to {pod.process.target()}")
            continue
        database = json.loads(found)
        if database["in_recovery"] or database["read_only"] == "on":
            reasons.append(f"{pod.name}: {pod.process.target()} takes no writes")
            continue
        return {"database": database, "pod": pod.name}, None
    return None, reasons or [f"no ready pod of {app}"]


def through_database(config):
    """The failed region's application, which needs no Kubernetes here: its own primary, if that takes writes."""
    try:
        connection = pg8000.dbapi.connect(**config["primary_database"], timeout=2, ssl_context=False)
        try:
            database = json.loads(ask(connection, IDENTITY))
        finally:
            connection.close()
    except Exception as error:
        return None, [str(error)]
    if database["in_recovery"] or database["read_only"] == "on":
        return None, ["the database takes no writes"]
    return {"database": database, "pod": None}, None


def handler(region, public, answer):
    class Region(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host = (self.headers.get("host") or "").split(":")[0].lower()
            if host != public:
                self.reply(200, {"region": region, "status": "ok"})
                return
            served, reasons = answer()
            if served is None:
                self.reply(503, {"region": region, "status": "unavailable", "reasons": reasons})
            else:
                self.reply(200, {"region": region, "status": "ok", **served})

        do_HEAD = do_GET

        def reply(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.send_header("x-phoenix-region", region)
            database = body.get("database")
            if database:
                self.send_header("x-phoenix-database", f"{database['address']}:{database['port']}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(text)

        def log_message(self, *_):
            """The proxy in front keeps the log."""

    return Region


def control_handler(kubelet):
    class Control(BaseHTTPRequestHandler):
        """For the estate only: GET /pods; POST /settings changes capacity, start_seconds and broken workloads."""

        def do_GET(self):
            self.reply(kubelet.facts())

        def do_POST(self):
            length = int(self.headers.get("content-length") or 0)
            kubelet.settings.update(json.loads(self.rfile.read(length) or b"{}"))
            self.reply(kubelet.settings)

        def reply(self, body):
            text = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            """Nothing worth keeping."""

    return Control


def serve(kubelet, config):
    """Both regions and the control, each on its port; returns when the process is told to end."""
    public, servers = config["public_name"], config["region_ports"]
    answers = {config["region"]: lambda: through_pods(kubelet, "phoenix-api"),
               config["primary_region"]: lambda: through_database(config)}
    for region, port in servers.items():
        server = ThreadingHTTPServer(("127.0.0.1", port), handler(region, public, answers[region]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", config["control_port"]), control_handler(kubelet)).serve_forever()
