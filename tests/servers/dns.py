"""A resolver for the estate's names: answers from the record sets of Route 53, with its rules of choice.

Weighted records: a random one in proportion to the weights among the healthy non-zero ones; zero-weighted records only
when every non-zero one is unhealthy; if nothing is healthy, as if everything were. Failover records: the primary
unless its health check fails. Health checks are really made, inverted ones included, at the moment of the question:
Route 53 needs a minute for that, tests should not.
"""

import http.client
import random
import socket
import struct
import threading

A, CNAME = 1, 5
TYPES = {A: "A", CNAME: "CNAME"}


class Resolver:
    """`translate` maps the port of a health check to one that can always be reached, past the proxy and its faults."""

    def __init__(self, aws, host, port, translate):
        self.aws, self.host, self.port, self.translate = aws, host, port, translate
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.thread = threading.Thread(target=self.serve, name="dns", daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.socket.close()

    def serve(self):
        while True:
            try:
                packet, sender = self.socket.recvfrom(1500)
            except OSError:
                return
            try:
                reply = self.answer(packet)
            except Exception as error:
                print(f"dns: {error}", flush=True)
                reply = packet[:2] + b"\x81\x82" + packet[4:6] + b"\0" * 6 + packet[12:]  # SERVFAIL
            try:
                self.socket.sendto(reply, sender)
            except OSError:
                return

    def answer(self, packet):
        name, kind, end = question(packet)
        known = [item for item in self.aws.records() if item["Name"].lower() == f"{name}."]
        chosen = self.choose([item for item in known if item["Type"] == TYPES.get(kind)])
        if chosen is None and kind == A:
            chosen = self.choose([item for item in known if item["Type"] == "CNAME"])
        code = 0 if known else 3
        records = [] if chosen is None else [
            resource(chosen["Type"], chosen["TTL"], value["Value"]) for value in chosen["ResourceRecords"]]
        # recursion desired is copied, recursion available and authoritative are set
        flags = 0x8480 | (struct.unpack(">H", packet[2:4])[0] & 0x0100) | code
        return (packet[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + packet[12:end] + b"".join(records))

    def choose(self, records):
        if not records:
            return None
        healthy = [item for item in records if self.healthy(item)]
        if "Failover" in records[0]:
            order = sorted(healthy or records, key=lambda item: item["Failover"] != "PRIMARY")
            return order[0]
        if "Weight" not in records[0]:
            return records[0]
        for group in (healthy, records):
            weighted = [item for item in group if item["Weight"] > 0]
            if weighted:
                return random.choices(weighted, [item["Weight"] for item in weighted])[0]
            if group:
                return random.choice(group)
        return None

    def healthy(self, record):
        identifier = record.get("HealthCheckId")
        if identifier is None:
            return True
        config = self.aws.health_check_config(identifier)
        connection = http.client.HTTPConnection(config["IPAddress"], self.translate(config["Port"]), timeout=2)
        try:
            connection.request("GET", config.get("ResourcePath", "/"))
            good = 200 <= connection.getresponse().status < 400
        except OSError:
            good = False
        finally:
            connection.close()
        return good != bool(config.get("Inverted"))


def question(packet):
    """Name, type and the offset after the first question."""
    labels, position = [], 12
    while length := packet[position]:
        labels.append(packet[position + 1:position + 1 + length].decode("ascii").lower())
        position += 1 + length
    kind = struct.unpack(">H", packet[position + 1:position + 3])[0]
    return ".".join(labels), kind, position + 5


def resource(kind, ttl, value):
    if kind == "A":
        number, data = A, socket.inet_aton(value)
    else:
        number = CNAME
        data = b"".join(bytes([len(label)]) + label.encode() for label in value.rstrip(".").split(".")) + b"\0"
    # 0xC00C points at the name in the question
    return struct.pack(">HHHIH", 0xC00C, number, 1, ttl, len(data)) + data
