"""A certificate authority for one estate, and the certificate of its proxy in front of Kubernetes."""

import ssl

from .common import run


def make(folder, addresses):
    """The CA's file, and a server context with a certificate for these addresses."""
    names = ",".join(f"IP:{address}" for address in addresses)
    # An authority apart from the certificate it signs: strict clients refuse one that is both.
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/CN=phoenix-dr tests", "-keyout", "ca.key", "-out", "ca.pem"], "openssl", cwd=folder)
    run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=kubernetes", "-keyout", "server.key", "-out", "server.csr"], "openssl", cwd=folder)
    (folder / "server.ext").write_text(
        f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    run(["openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "30", "-extfile", "server.ext", "-out", "server.pem"], "openssl", cwd=folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context
