"""Stands for scheduler, kubelets and autoscaler of the warm region: `python -m servers.kubelet CONFIGURATION`.

It watches the pods of phoenix-system and does to each what a node would, by patching its status. A pod whose manifest
takes its database from the Secret opens a real PostgreSQL connection, from a loopback address of its own, with the
values the Secret had when the pod started, and keeps it until the pod is deleted: what the database lists as
connected is what the pods really use. The region's HTTP servers (`regions.py`) ask here which pod could answer.
"""

import base64
import json
import sys
import threading
import time

from . import regions
from .kube import Api
from .kube_seed import CORE, NAMESPACE, SCALING, APPS, SECRET
from .podprocess import DatabaseProcess, PlainProcess


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Pod:
    """One pod as this kubelet runs it."""

    def __init__(self, manifest, address):
        meta = manifest["metadata"]
        self.uid, self.name, self.manifest, self.address = meta["uid"], meta["name"], manifest, address
        self.app = meta.get("labels", {}).get("app", self.name)
        self.began, self.process, self.reported = time.monotonic(), None, None

    def environment(self):
        """Variables that come from the database's Secret, by their key there; empty when there are none."""
        found = {}
        for container in self.manifest["spec"]["containers"]:
            for variable in container.get("env", ()):
                reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
                if reference.get("name") == SECRET:
                    found[reference["key"]] = variable["name"]
        return found


class Kubelet:
    def __init__(self, api, settings):
        self.api, self.settings = api, settings
        self.pods, self.waiting = {}, {}
        self.lock = threading.RLock()
        self.next_address = 0

    # --- watching

    def watch(self):
        """List, then watch from there; on any break, again."""
        while True:
            try:
                listing = self.api.call("GET", f"{CORE}/namespaces/{NAMESPACE}/pods")
                self.replace(listing["items"])
                self.follow(listing["metadata"]["resourceVersion"])
            except Exception as error:
                print(f"watch: {error}", flush=True)
                time.sleep(0.5)

    def follow(self, version):
        connection = self.api.connection(timeout=330)
        connection.request("GET", f"{CORE}/namespaces/{NAMESPACE}/pods?watch=1&resourceVersion={version}"
                                  "&timeoutSeconds=300", headers=self.api.headers())
        answer = connection.getresponse()
        try:
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self.see(event["type"], event["object"])
        finally:
            connection.close()

    def replace(self, manifests):
        present = {item["metadata"]["uid"] for item in manifests}
        with self.lock:
            gone = [pod.manifest for uid, pod in {**self.pods, **self.waiting}.items() if uid not in present]
        for manifest in gone:
            self.see("DELETED", manifest)
        for manifest in manifests:
            self.see("ADDED", manifest)

    def see(self, kind, manifest):
        uid = manifest["metadata"]["uid"]
        with self.lock:
            if kind == "DELETED" or manifest["metadata"].get("deletionTimestamp"):
                self.waiting.pop(uid, None)
                pod = self.pods.pop(uid, None)
                if pod is not None and pod.process is not None:
                    pod.process.end()
            elif uid not in self.pods and uid not in self.waiting:
                self.next_address += 1
                number = self.next_address
                pod = Pod(manifest, f"127.1.{number // 250}.{number % 250 + 1}")
                self.waiting[uid] = pod

    # --- running

    def work(self):
        """Places what waits while there is room, and reports what changed; a few times a second."""
        while True:
            time.sleep(0.1)
            with self.lock:
                waiting, running = list(self.waiting.values()), list(self.pods.values())
            for pod in waiting:
                self.attempt(self.place, pod)
            for pod in running:
                self.attempt(self.report, pod)

    def attempt(self, job, pod):
        try:
            job(pod)
        except Exception as error:  # deleted meanwhile, or a conflict: the next round sees it anew
            print(f"{pod.name}: {error}", flush=True)

    def place(self, pod):
        capacity = self.settings.get("capacity")
        with self.lock:
            full = capacity is not None and len(self.pods) >= capacity
        if full:
            if pod.reported != "unschedulable":
                pod.reported = "unschedulable"
                self.unschedulable(pod)
            return
        process = self.launch(pod)
        with self.lock:
            if self.waiting.pop(pod.uid, None) is None:
                process.end()
                return
            pod.process, pod.began, pod.reported = process, time.monotonic(), None
            self.pods[pod.uid] = pod

    def unschedulable(self, pod):
        message = "0/3 nodes are available: 3 Insufficient cpu."
        self.api.patch(self.status_path(pod), {"status": {"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": now()}]}})
        self.event(pod, "FailedScheduling", message)

    def event(self, pod, reason, message):
        self.api.call("POST", f"{CORE}/namespaces/{NAMESPACE}/events", {
            "metadata": {"generateName": f"{pod.name}."}, "type": "Warning", "reason": reason, "message": message,
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": pod.name, "uid": pod.uid,
                               "apiVersion": "v1"},
            "source": {"component": "default-scheduler" if reason == "FailedScheduling" else "kubelet"},
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1})

    def launch(self, pod):
        """The Secret is read here, once: like an environment variable, it does not change while the pod runs."""
        if not pod.environment():
            return PlainProcess()
        data = self.api.call("GET", f"{CORE}/namespaces/{NAMESPACE}/secrets/{SECRET}")["data"]
        values = {key: base64.b64decode(value).decode() for key, value in data.items()}
        return DatabaseProcess(pod.name, pod.address, values)

    def status_path(self, pod):
        return f"{CORE}/namespaces/{NAMESPACE}/pods/{pod.name}/status"

    def report(self, pod):
        """Patches the status when what the process says has changed."""
        if time.monotonic() - pod.began < self.settings.get("start_seconds", 0.2):
            return
        broken = self.settings.get("broken", {}).get(pod.app)
        ready, reason, message = (False, broken, "set by the test") if broken else pod.process.state()
        if reason == "ContainerCreating" or (ready, reason) == pod.reported:
            return
        pod.reported = (ready, reason)
        verdict = "True" if ready else "False"
        state = {"running": {"startedAt": now()}} if ready else {"waiting": {"reason": reason, "message": message}}
        conditions = [{"type": kind, "status": "True" if kind in ("PodScheduled", "Initialized") else verdict,
                       "lastTransitionTime": now()}
                      for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")]
        containers = [{"name": item["name"], "image": item["image"], "imageID": "", "ready": ready,
                       "restartCount": 0 if ready else 1, "started": ready, "state": state}
                      for item in pod.manifest["spec"]["containers"]]
        self.api.patch(self.status_path(pod), {"status": {
            "phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}], "hostIP": "127.0.0.1",
            "startTime": now(), "conditions": conditions, "containerStatuses": containers}})
        if not ready:
            self.event(pod, "BackOff", message)

    # --- autoscaling

    def autoscale(self):
        """Keeps each autoscaled Deployment between its bounds, which is all an autoscaler without metrics does."""
        while True:
            time.sleep(0.3)
            try:
                for item in self.api.call("GET", f"{SCALING}/namespaces/{NAMESPACE}/horizontalpodautoscalers")["items"]:
                    self.bound(item)
            except Exception as error:
                print(f"autoscaler: {error}", flush=True)

    def bound(self, item):
        name, spec = item["spec"]["scaleTargetRef"]["name"], item["spec"]
        path = f"{APPS}/namespaces/{NAMESPACE}/deployments/{name}"
        target = self.api.call("GET", path, missing_ok=True)
        if target is None:
            return
        present, least = target["spec"]["replicas"], spec.get("minReplicas", 1)
        # Without load, an autoscaler takes replicas above the minimum away again after a while; here at once.
        if present not in (0, least):
            self.api.patch(f"{path}/scale", {"spec": {"replicas": least}})
            present = least
        if item.get("status", {}).get("currentReplicas") != present:
            owner = f"{SCALING}/namespaces/{NAMESPACE}/horizontalpodautoscalers/{item['metadata']['name']}"
            self.api.patch(f"{owner}/status", {"status": {"currentReplicas": present, "desiredReplicas": present}})

    # --- what others ask

    def serving(self, app):
        """Ready pods of an application."""
        with self.lock:
            return [pod for pod in self.pods.values() if pod.app == app and pod.reported == (True, None)]

    def facts(self):
        with self.lock:
            pods = list(self.pods.values()) + list(self.waiting.values())
        return [{"name": pod.name, "app": pod.app, "address": pod.address, "state": pod.reported,
                 "database": pod.process.describe() if pod.process else None} for pod in pods]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    api = Api(config["host"], config["port"], config["token"])
    kubelet = Kubelet(api, dict(config["settings"]))
    for job in (kubelet.watch, kubelet.work, kubelet.autoscale):
        threading.Thread(target=job, name=job.__name__, daemon=True).start()
    regions.serve(kubelet, config)


if __name__ == "__main__":
    main()
