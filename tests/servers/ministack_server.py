"""ministack (Route 53, S3, STS) in a process of its own: `python -m servers.ministack_server`, set up by environment.

One repair (ministack 1.5.33): the booleans of a health check are written as Python writes them (`True`), which strict
XML readers such as the Rust SDK refuse and lenient ones read as false.
"""

from ministack import app
from ministack.services import route53


def install():
    parse = route53._parse_health_check_config

    def parse_with_xml_booleans(element):
        config = parse(element)
        return {key: str(value).lower() if isinstance(value, bool) else value for key, value in config.items()}

    route53._parse_health_check_config = parse_with_xml_booleans


def environment(port):
    """What keeps it to loopback, to one account with moto, and off ports nobody needs."""
    return {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": "123456789012", "IOT_MTLS_ENABLED": "0"}


if __name__ == "__main__":
    install()
    app.main()
