"""How moto's RDS instances and snapshots take their time, and how PostgreSQL follows what RDS was asked for."""

import json
import threading
import time
import urllib.request

# seconds of a change's first stage; where to tell PostgreSQL; host and port by instance
SETTINGS = {"seconds": 3.0, "hook": None, "addresses": {}}


class Transition:
    """How an instance or snapshot gets to its final status: named stages with their ends, and PostgreSQL's own pace."""

    def __init__(self, final):
        self.final, self.stages, self.hook, self.failed = final, (), None, None
        self.began, self.seconds = time.monotonic(), 0.0

    def status(self):
        # a test may hold a change up and let it go on: settings of now make it shorter, never longer
        passed, seconds = time.monotonic() - self.began, min(self.seconds, SETTINGS["seconds"])
        for name, share in self.stages:
            passed -= share * seconds
            if passed < 0:
                return name
        if self.hook is not None and not self.hook.is_set():
            return self.stages[-1][0]
        return self.failed or self.final

    def __deepcopy__(self, memo):
        """moto makes a restored instance from a copy of its source's attributes: the copy's own life begins anew."""
        return Transition(self.final)


class Status:
    """The attribute `status` of moto's instances and snapshots, which moto only ever sets to the final value."""

    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__["_transition"].status()

    def __set__(self, instance, value):
        instance.__dict__["_transition"] = Transition(value)


def pass_through(instance, *names, event=None, **more):
    """Lets the instance take its time: SECONDS in the first stage, half of them in each further one."""
    transition = instance.__dict__["_transition"]
    transition.began, transition.seconds = time.monotonic(), SETTINGS["seconds"]
    transition.stages = [(name, 1 if position == 0 else 0.5) for position, name in enumerate(names)]
    if event is None or SETTINGS["hook"] is None:
        return
    transition.hook = threading.Event()

    def call():
        try:
            tell(event, instance.db_instance_identifier, **more)
        except Exception as error:  # RDS would show a failed instance here, never an available one
            print(f"hook {event} {instance.db_instance_identifier}: {error}", flush=True)
            transition.failed = "failed"
        transition.hook.set()

    threading.Thread(target=call, name=f"hook {event}", daemon=True).start()


def tell(event, name, was=None):
    """Makes the estate's PostgreSQL follow; learns the address of a server made for the occasion, or named anew."""
    body = json.dumps({"event": event, "instance": name, "was": was}).encode()
    request = urllib.request.Request(SETTINGS["hook"], body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        told = json.loads(answer.read())
    if was is not None:
        SETTINGS["addresses"][name] = [told["host"], told["port"]]
    SETTINGS["addresses"].setdefault(name, [told["host"], told["port"]])


def endpoint(self):
    """The mapped server; none while an instance is being created, as on AWS."""
    if self.status in ("creating", "renaming"):
        return None
    host, port = SETTINGS["addresses"].get(self.db_instance_identifier, (self.address, self.port))
    return {"Address": host, "Port": port}
