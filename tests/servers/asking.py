"""How the self-check asks an estate's servers: with clients of its own, by what the estate file and environment say."""

import json
import os
import socket
import ssl
import struct
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pg8000.dbapi
import yaml
from botocore.config import Config

CONTROL = os.environ["PHOENIX_DR_TEST_CONTROL"]


def estate():
    """The estate file as it is now: a reset writes it anew."""
    return yaml.safe_load(Path("phoenix-dr.yaml").read_text())


def control(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONTROL + path, data, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def client(service, region="us-west-2"):
    return boto3.client(service, region_name=region, endpoint_url=estate()["regions"][region]["endpoints"][service],
                        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=2,
                                      s3={"addressing_style": "path"}))


def kubernetes(method, path, body=None):
    """Through the proxy's TLS, trusting the kubeconfig's authority only."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == "eks-us-west-2")
    headers = {"authorization": f"Bearer {config['users'][0]['user']['token']}",
               "content-type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(cluster["server"] + path, data, headers, method=method)
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.loads(answer.read())


def until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s; state: {json.dumps(control('GET', '/state'))}")


def raises(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def http(url, host=None):
    """Status and JSON."""
    request = urllib.request.Request(url, headers={"host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def resolve(name="app.phoenix.example"):
    host, port = estate()["dns"]["resolvers"][0].split(":")
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question, (host, int(port)))
        return socket.inet_ntoa(asking.recv(1500)[-4:])


def hangs(address):
    """Neither accepted nor refused within a second."""
    host, port = address.split(":")
    began = time.monotonic()
    raises(TimeoutError, lambda: socket.create_connection((host, int(port)), timeout=1))
    return time.monotonic() - began >= 0.9


def query(host, port, sql, database="phoenix"):
    """As the operator's role, with what the environment gives the program."""
    connection = pg8000.dbapi.connect("phoenix_dr", host=host, port=port, database=database,
                                      password=os.environ["PHOENIX_DB_PASSWORD"], ssl_context=False)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql)
    value = cursor.fetchone()[0] if cursor.description else None
    connection.close()
    return value
