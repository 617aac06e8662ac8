"""One throw-away Phoenix estate: starts all servers in parallel, seeds them, resets them, stops them."""

import json
import os
import shutil
import tempfile
import threading
import urllib.request
from pathlib import Path

from . import aws_seed, certificates, estate_file, kube, kube_seed, ministack_server, prepare
from .aws_seed import Aws
from .common import REPOSITORY, Process, Reaper, ServerEnded, cache_dir, free_port, in_parallel, say, wait_for, web_port
from .control import ControlServer
from .dns import Resolver
from .estate_file import PRIMARY, PRIMARY_REGION, RECOVERED, REGION, REPLICA
from .postgres import Fleet
from .postgres_template import APPLICATION, DATABASE, Template
from .proxy import Endpoint, Proxy

# the endpoints that die with us-east-1
LOST = {"us-east-1.api", "us-east-1.database", "us-east-1.rds", "us-east-1.s3", "us-east-1.sts", "global.health"}


class Estate:
    def __init__(self, options):
        self.options, self.initial_options = options, options
        self.folder = Path(tempfile.mkdtemp(prefix="phoenix-dr-estate-"))
        # PostgreSQL's own user has to pass through it
        self.folder.chmod(0o755)
        Reaper.tell(f"- {self.folder}")
        # A /24 of loopback for this estate alone, so that several run side by side with the ports they like.
        number = os.getpid() % 16384
        self.network = f"127.{64 + number // 256}.{number % 256}"
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.processes, self.network_names = [], {}
        self.kubeconfig = self.folder / "kubeconfig"
        self.lock, self.stopped = threading.Lock(), False

    # --- start

    def start(self):
        cache = cache_dir()
        self.proxy = Proxy(self.logs / "requests.jsonl")
        self.control = ControlServer(self)
        self.control.start()
        self.cluster = kube.Cluster(cache, self.folder / "kubernetes")
        try:
            in_parallel(postgres=lambda: self.start_postgres(cache), moto=self.start_moto,
                        ministack=self.start_ministack, kubernetes=self.cluster.start)
            self.open_endpoints()
            self.start_resolver()
            self.start_kubelet()
            self.seed()
        except BaseException:
            self.stop()
            raise
        say(f"estate: ready in {self.folder}")
        return self

    def spawn(self, name, *argv, env=None):
        process = Process(name, [prepare.python(), *argv], self.logs / f"{name}.log",
                          env={**os.environ, **(env or {})}, cwd=REPOSITORY / "tests")
        self.processes.append(process)
        return process

    def start_postgres(self, cache):
        self.fleet = Fleet(Template(cache).prepare(), self.folder / "postgres", self.network)
        for number, name in enumerate((PRIMARY, REPLICA, RECOVERED), 11):
            self.fleet.server(name, number)
        self.start_databases()

    def follow(self, event, instance, was):
        """What happens to PostgreSQL when RDS is asked for something; where the instance is found then."""
        gate = self.proxy.endpoints[f"{PRIMARY_REGION}.database"]
        if event in ("shut", "open") and instance == PRIMARY:
            getattr(self.proxy, event)(gate.name)
        if event != "rename":
            return self.fleet.follow(event, instance)
        server = self.fleet.rename(was, instance)
        if instance != PRIMARY:
            return {"host": server.host, "port": server.port}
        # the name's endpoint leads to whichever server has the name
        gate.upstream = (server.host, server.port)
        return {"host": gate.host, "port": gate.port}

    def start_databases(self):
        self.fleet.start(PRIMARY, None if self.options.restore_only else REPLICA)

    def start_moto(self):
        self.moto_port, self.moto_control = free_port(), free_port()
        moto = self.spawn("moto", "-m", "servers.moto_rds", str(self.moto_port), str(self.moto_control),
                          f"{self.control.url}/follow")
        wait_for("moto", lambda: fetch(f"http://127.0.0.1:{self.moto_port}/moto-api/data.json"), 60, process=moto)

    def start_ministack(self):
        self.ministack_port = free_port()
        ministack = self.spawn("ministack", "-m", "servers.ministack_server",
                               env=ministack_server.environment(self.ministack_port))
        wait_for("ministack", lambda: fetch(f"http://127.0.0.1:{self.ministack_port}/_ministack/ready"), 60,
                 process=ministack)
        self.aws = Aws(self.ministack_port, REGION)

    def open_endpoints(self):
        """Every address the estate file names, each a port of the proxy."""
        east, west = f"{self.network}.1", f"{self.network}.2"
        moto, ministack = ("127.0.0.1", self.moto_port), ("127.0.0.1", self.ministack_port)
        self.region_ports = {PRIMARY_REGION: free_port(), REGION: free_port()}
        primary = self.fleet.server(PRIMARY)
        authority, tls = certificates.make(self.folder, ["127.0.0.1", east, west])
        for name, service, host, upstream in (
                (f"{PRIMARY_REGION}.api", "http", east, ("127.0.0.1", self.region_ports[PRIMARY_REGION])),
                (f"{REGION}.api", "http", west, ("127.0.0.1", self.region_ports[REGION])),
                (f"{PRIMARY_REGION}.rds", "rds", "127.0.0.1", moto), (f"{REGION}.rds", "rds", "127.0.0.1", moto),
                (f"{PRIMARY_REGION}.s3", "s3", "127.0.0.1", ministack), (f"{REGION}.s3", "s3", "127.0.0.1", ministack),
                (f"{PRIMARY_REGION}.sts", "sts", "127.0.0.1", ministack),
                (f"{REGION}.sts", "sts", "127.0.0.1", ministack),
                ("global.route53", "route53", "127.0.0.1", ministack), ("global.health", "health", "127.0.0.1", None),
                (f"{PRIMARY_REGION}.database", "postgres", f"{self.network}.10", (primary.host, primary.port))):
            port = web_port(host) if service == "http" else free_port(host)
            self.proxy.add(Endpoint(name, service, name.split(".")[0], host, port, upstream))
        api = self.cluster.api
        for region in (REGION, PRIMARY_REGION):
            self.proxy.add(Endpoint(f"{region}.kubernetes", "kubernetes", region, "127.0.0.1", free_port(),
                                    (api.host, api.port), tls, api.context))
        kube.kubeconfig(self.kubeconfig, {
            estate_file.CONTEXTS[region]: (f"https://{self.address(f'{region}.kubernetes')}", authority)
            for region in (REGION, PRIMARY_REGION)}, api.token or "the proxy has a certificate")

    def start_resolver(self):
        port = free_port()
        s3 = self.proxy.endpoints[f"{REGION}.s3"].port
        # health checks are made from outside: neither counted nor in reach of a test's faults
        self.resolver = Resolver(self.aws, "127.0.0.1", port,
                                 lambda asked: self.ministack_port if asked == s3 else asked)
        self.resolver_address = f"127.0.0.1:{port}"
        self.resolver.start()

    def start_kubelet(self):
        primary, self.kubelet_control = self.fleet.server(PRIMARY), free_port()
        config = self.folder / "kubelet.json"
        config.write_text(json.dumps({
            "host": self.cluster.api.host, "port": self.cluster.api.port, "token": self.cluster.api.token,
            "settings": self.kubelet_settings(), "control_port": self.kubelet_control,
            "public_name": aws_seed.NAME, "region": REGION, "primary_region": PRIMARY_REGION,
            "region_ports": self.region_ports, "primary_database": {
                "user": APPLICATION, "host": primary.host, "port": primary.port, "database": DATABASE,
                "password": self.fleet.template.password}}))
        kubelet = self.spawn("kubelet", "-m", "servers.kubelet", str(config))
        wait_for("the kubelet", lambda: fetch(f"http://127.0.0.1:{self.kubelet_control}/") is not None, 20,
                 process=kubelet)

    def kubelet_settings(self):
        return {"capacity": self.options.capacity, "start_seconds": 0.2, "broken": {}}

    # --- seed and reset

    def seed(self):
        """What the servers hold at the beginning; also the second half of every reset."""
        in_parallel(rds=self.seed_rds, aws=self.seed_aws, kubernetes=self.seed_kubernetes)
        self.set_lights()
        estate_file.write(self.folder / "phoenix-dr.yaml", self)
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        (self.folder / "state").mkdir()
        wait_for("every workload of the warm region ready", self.workloads_settled, 60)
        self.proxy.log.clear()
        (self.folder / "estate.json").write_text(json.dumps(self.facts(), indent=2))

    def workloads_settled(self):
        self.require_alive()
        return kube_seed.settled(self.cluster.api)

    def require_alive(self):
        """A server that has ended says so at once, with its log, instead of a wait that cannot be fulfilled."""
        for process in [*self.processes, *self.cluster.processes]:
            if process.poll() is not None:
                raise ServerEnded(f"{process.name} has ended with {process.poll()}\n{process.tail()}")

    def seed_rds(self):
        addresses = {name: [server.host, server.port] for name, server in self.fleet.servers.items()}
        gate = self.proxy.endpoints[f"{PRIMARY_REGION}.database"]
        addresses[PRIMARY] = [gate.host, gate.port]
        made = self.moto("seed", {
            "primary_region": PRIMARY_REGION, "region": REGION, "primary": PRIMARY, "addresses": addresses,
            "replica": None if self.options.restore_only else REPLICA})
        self.moto("settings", {"seconds": self.options.transition_seconds})
        self.closed_groups = {name: made[name].pop("nobody") for name in (PRIMARY_REGION, REGION)}
        self.network_names = {name: made[name] for name in (PRIMARY_REGION, REGION)}

    def seed_aws(self):
        s3 = self.proxy.endpoints[f"{REGION}.s3"]
        self.aws.seed((f"{self.network}.1", f"{self.network}.2"),
                      (s3.host, s3.port) if self.options.control_plane_dark else None)

    def seed_kubernetes(self):
        gate = self.proxy.endpoints[f"{PRIMARY_REGION}.database"]
        self.kubelet("settings", self.kubelet_settings())
        kube_seed.seed(self.cluster.api, gate.host, gate.port, APPLICATION, self.fleet.template.password)

    def set_lights(self):
        """Dark is what the options say; nothing else stays dark from the test before."""
        # There is one cluster only. The failed region's context leads nowhere even when the region is up.
        dark = {"us-east-1.kubernetes"}
        if not self.options.primary_up:
            dark |= LOST
        if self.options.control_plane_dark:
            dark |= {"global.route53"}
        self.proxy.set_lights(dark)
        self.tell_backups()

    def set_dark(self, pattern, dark):
        """Endpoints by shell pattern, at once; answers the names it changed."""
        changed = self.proxy.set_dark(pattern, dark)
        self.tell_backups()
        return changed

    def tell_backups(self):
        """Nothing is copied to the other region while the database it would come from is dark."""
        self.moto("dark", {"dark": self.proxy.endpoints[f"{PRIMARY_REGION}.database"].dark_port is not None})

    def reset(self, wanted):
        """Everything as at the beginning, with the first options or with those named in `wanted`."""
        with self.lock:
            self.options = self.initial_options.changed(wanted)
            self.proxy.faults.clear()
            self.set_lights()
            self.fleet.stop()
            self.fleet.own_names()
            primary = self.fleet.server(PRIMARY)
            self.proxy.endpoints[f"{PRIMARY_REGION}.database"].upstream = (primary.host, primary.port)
            self.start_databases()
            self.seed()
            return self.facts()

    def set_options(self, wanted):
        """Changes that need no reset: how fast RDS is, how many pods fit, which workloads cannot start."""
        if "transition_seconds" in wanted:
            self.moto("settings", {"seconds": float(wanted["transition_seconds"])})
        return self.kubelet("settings", {key: value for key, value in wanted.items()
                                         if key in ("capacity", "start_seconds", "broken")})

    # --- asking

    def moto(self, path, body):
        return fetch(f"http://127.0.0.1:{self.moto_control}/{path}", body)

    def kubelet(self, path, body=None):
        return fetch(f"http://127.0.0.1:{self.kubelet_control}/{path}", body)

    def address(self, endpoint):
        found = self.proxy.endpoints[endpoint]
        return f"{found.host}:{found.port}"

    def url(self, endpoint):
        return f"http://{self.address(endpoint)}"

    def environment(self):
        """What the program and the tests find in their environment."""
        return {
            "AWS_ACCESS_KEY_ID": aws_seed.KEY_ID, "AWS_SECRET_ACCESS_KEY": aws_seed.SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": REGION,
            # somebody's own profile must not decide where a test goes
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "KUBECONFIG": str(self.kubeconfig), "PHOENIX_DR_STATE": str(self.folder / "state"),
            estate_file.PASSWORD_VARIABLE: self.fleet.template.password,
            "PHOENIX_DR_TEST_CONTROL": self.control.url}

    def facts(self):
        """The contents of estate.json."""
        return {
            "folder": str(self.folder), "estate": str(self.folder / "phoenix-dr.yaml"), "control": self.control.url,
            "environment": self.environment(), "options": self.options.as_dict(),
            "endpoints": {name: item.facts() for name, item in sorted(self.proxy.endpoints.items())},
            "resolver": self.resolver_address, "zone": self.aws.zone, "health_check": self.aws.health_check,
            "closed_groups": self.closed_groups,
            "databases": {name: {"host": item.host, "port": item.port} for name, item in self.fleet.servers.items()},
            "requests_log": str(self.logs / "requests.jsonl"), "logs": str(self.logs), "pid": os.getpid(),
            "pids": {item.name: item.pid for item in [*self.processes, *self.cluster.processes, *self.fleet.processes()]}}

    def state(self):
        """What is true now, asked of the servers themselves: for assertions."""
        return {
            "weights": self.aws.weights(), "switch_present": self.aws.switch_present(),
            "workloads": kube_seed.workloads(self.cluster.api), "autoscalers": kube_seed.autoscalers(self.cluster.api),
            "pods": self.kubelet(""), "instances": self.rds_instances(),
            "secret": kube_seed.endpoint(self.cluster.api),
            "databases": {name: item.facts() for name, item in list(self.fleet.servers.items())}}

    def rds_instances(self):
        """The instances of the surviving region and their status, straight from the server."""
        found = aws_seed.client("rds", self.moto_port, REGION).describe_db_instances()["DBInstances"]
        return {item["DBInstanceIdentifier"]: item["DBInstanceStatus"] for item in found}

    # --- stop

    def stop(self):
        if self.stopped:
            return
        self.stopped = True
        say("estate: stopping")
        for name in ("resolver", "control", "proxy"):
            if hasattr(self, name):
                getattr(self, name).stop()
        for process in reversed(self.processes):
            process.stop(grace=2.0)
        if hasattr(self, "fleet"):
            self.fleet.stop()
        self.cluster.stop()
        if os.environ.get("PHOENIX_DR_TEST_KEEP"):
            say(f"estate: kept {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def fetch(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()
