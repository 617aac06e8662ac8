"""The Kubernetes API: a real etcd, kube-apiserver and kube-controller-manager, started on loopback.

There is no kubelet and no scheduler; `kubelet.py` stands for both. `PHOENIX_DR_TEST_KUBECONFIG` names a cluster to
use instead, whose current context is taken; its namespace phoenix-system is then emptied and filled at every reset.
"""

import base64
import http.client
import json
import os
import ssl
import tempfile
import threading
import urllib.parse
from pathlib import Path

import yaml

from .common import Process, ServerError, free_port, run, wait_for

TOKEN = "phoenix-operator"
VIEWER_TOKEN = "phoenix-viewer"


class Api:
    """Plain HTTPS calls with JSON, for the seed and the kubelet: straight to the server, past proxy and log."""

    def __init__(self, host, port, token=None, context=None):
        self.host, self.port, self.token = host, port, token
        self.context = context or ssl._create_unverified_context()
        # each thread keeps its connection: a handshake costs both sides more than any of these requests
        self.local = threading.local()

    def connection(self, timeout=30):
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)

    def headers(self, kind="application/json"):
        headers = {"content-type": kind, "accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return headers

    def call(self, method, path, body=None, kind="application/json", missing_ok=False):
        """The answer's JSON; an error status is an exception, except a 404 where that is fine."""
        request = (method, path, None if body is None else json.dumps(body), self.headers(kind))
        kept = getattr(self.local, "connection", None)
        try:
            answer, text = self.exchange(kept or self.connection(), request)
        except (ConnectionError, ssl.SSLError):
            # closed by the server since it was used last: nothing of this request was read
            if kept is None:
                raise
            answer, text = self.exchange(self.connection(), request)
        if answer.status == 404 and missing_ok:
            return None
        if answer.status >= 400:
            raise ServerError(f"kubernetes: {method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
        return json.loads(text) if text[:1] in b"{[" else text.decode()

    def exchange(self, connection, request):
        self.local.connection = None
        try:
            connection.request(*request)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException:
            connection.close()
            raise
        self.local.connection = connection
        return answer, text

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")


class Cluster:
    """The three processes of one cluster, their certificates and tokens."""

    def __init__(self, cache, folder):
        self.binaries, self.folder = cache / "kube", folder
        self.processes = []
        self.api = None

    def start(self):
        given = os.environ.get("PHOENIX_DR_TEST_KUBECONFIG")
        if given:
            self.api = from_kubeconfig(given)
        else:
            self.start_own()
        return self.api

    def start_own(self):
        self.folder.mkdir(parents=True)
        for arguments in (("genrsa", "-out", "sa.key", "2048"), ("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")):
            run(["openssl", *arguments], "openssl", cwd=self.folder)
        (self.folder / "tokens.csv").write_text(
            f'{TOKEN},operator,1,"system:masters"\n{VIEWER_TOKEN},viewer,2\n')
        etcd, peers, port = free_port(), free_port(), free_port()
        store, here = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"
        self.spawn("etcd", ["/usr/bin/etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", store,
                            "--advertise-client-urls", store, "--listen-peer-urls", here,
                            "--initial-advertise-peer-urls", here, "--initial-cluster", f"default={here}",
                            "--unsafe-no-fsync"])
        server = self.spawn("kube-apiserver", [
            self.binaries / "kube-apiserver", f"--etcd-servers={store}", f"--secure-port={port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--cert-dir={self.folder}/certs",
            "--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
            "--token-auth-file=tokens.csv", "--service-cluster-ip-range=10.0.0.0/24",
            # pods would wait for a service account that nothing here needs
            "--disable-admission-plugins=ServiceAccount"])
        self.api = Api("127.0.0.1", port, TOKEN)
        wait_for("kube-apiserver ready", lambda: self.api.call("GET", "/readyz") == "ok", 90, process=server)
        kubeconfig(self.folder / "kubeconfig", {"own": (f"https://127.0.0.1:{port}", None)}, TOKEN)
        self.spawn("kube-controller-manager", [
            self.binaries / "kube-controller-manager", "--kubeconfig=kubeconfig",
            "--controllers=deployment,replicaset,namespace,garbagecollector", "--leader-elect=false",
            # both ports off: the old one would listen on every address, and only one estate could have it
            "--secure-port=0", "--port=0", "--service-account-private-key-file=sa.key",
            "--use-service-account-credentials=false"])

    def spawn(self, name, argv):
        process = Process(name, argv, self.folder / f"{name}.log", cwd=self.folder)
        self.processes.append(process)
        return process

    def stop(self):
        # the store last: the others complain loudly without it
        for process in reversed(self.processes):
            process.stop(grace=3.0)


def kubeconfig(path, contexts, token):
    """A kubeconfig with one user; `contexts` maps a name to the server's URL and its CA certificate's file, if any."""
    clusters = []
    for name, (server, authority) in contexts.items():
        trust = {"certificate-authority": str(authority)} if authority else {"insecure-skip-tls-verify": True}
        clusters.append({"name": name, "cluster": {"server": server, **trust}})
    content = {
        "apiVersion": "v1", "kind": "Config", "clusters": clusters,
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "operator"}} for name in contexts],
        "current-context": next(iter(contexts))}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    path.chmod(0o600)


def from_kubeconfig(path):
    """The current context of somebody's own kubeconfig: a token or a client certificate."""
    content = yaml.safe_load(Path(path).read_text())
    context = next(item["context"] for item in content["contexts"] if item["name"] == content["current-context"])
    cluster = next(item["cluster"] for item in content["clusters"] if item["name"] == context["cluster"])
    user = next(item["user"] for item in content["users"] if item["name"] == context["user"])
    address = urllib.parse.urlsplit(cluster["server"])
    trust = ssl.create_default_context(cafile=cluster.get("certificate-authority"),
                                       cadata=decoded(cluster, "certificate-authority-data"))
    if cluster.get("insecure-skip-tls-verify"):
        trust = ssl._create_unverified_context()
    certificate, key = decoded(user, "client-certificate-data"), decoded(user, "client-key-data")
    if certificate and key:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:
            both.write(certificate + "\n" + key)
            both.flush()
            trust.load_cert_chain(both.name)
    elif user.get("client-certificate"):
        trust.load_cert_chain(user["client-certificate"], user.get("client-key"))
    elif not user.get("token"):
        raise ServerError(f"{path}: the user {context['user']} has neither a token nor a client certificate")
    return Api(address.hostname, address.port or 443, user.get("token"), trust)


def decoded(section, key):
    return base64.b64decode(section[key]).decode() if key in section else None
