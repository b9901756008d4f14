"""The real nginx in front of a server, for a test: as it comes, and as our documentation has it.

It runs in one process, on free ports of loopback, and keeps everything in a folder.
"""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PROGRAM = Path("/usr/sbin/nginx")
SECONDS_MAX = 60  # that it may take to listen

_ROOT = Path(__file__).parents[1]
_DOCUMENT = _ROOT / "docs" / "operations.md"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""

    certificate: Path
    key: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to trust it."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate with openssl."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    program = shutil.which("openssl") or "openssl"
    subprocess.run([program, "req", "-x509", *kind, *name, *files], check=True, capture_output=True)
    return made


class Nginx:
    """A process that can be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._command = [str(PROGRAM), "-p", f"{folder}", "-e", f"{folder}/log", "-c", "nginx.conf"]
        self._port = port
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(self._command)
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"nginx does not listen on port {self._port}")

    def stop(self) -> None:
        """Stop it at once; all connections break."""
        self._process.terminate()
        self._process.wait(SECONDS_MAX)


@dataclass(frozen=True)
class Front:
    """Where nginx listens: with TLS and without."""

    tls: str
    plain: str
    nginx: Nginx


@contextmanager
def alone(folder: Path, server: str) -> Iterator[str]:
    """Put nginx before the `server` with nothing but `proxy_pass`; give where it listens."""
    port = _free_port()
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {server}; }} }}"
    with _running(folder, site, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def documented(
    folder: Path, server: str, certificate: Certificate, path: str = "", *, kept: bool = True
) -> Iterator[Front]:
    """Put nginx before the `server` as docs/operations.md says, below `path`.

    It listens without TLS, too. Unless the path is `kept`, requests come without it.
    """
    tls, plain = _free_port(), _free_port()
    site = re.findall(r"^```nginx\n(.*?)^```", _DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[0]
    for was, becomes in (
        (r"server 127\.0\.0\.1:\d+;", f"server {urlsplit(server).netloc};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl; listen 127.0.0.1:{plain};"),
        (r"ssl_certificate_key .*;", f"ssl_certificate_key {certificate.key};"),
        (r"ssl_certificate .*;", f"ssl_certificate {certificate.certificate};"),
        (r"location / {", f"location {path}/ {{"),
        (r"proxy_pass http://meterhouse;", f"proxy_pass http://meterhouse{'' if kept else '/'};"),
    ):
        site, found = re.subn(was, becomes, site)
        assert found == 1, was
    with _running(folder, site, plain) as running:
        yield Front(f"https://127.0.0.1:{tls}{path}", f"http://127.0.0.1:{plain}{path}", running)


@contextmanager
def deployed(folder: Path, *servers: str) -> Iterator[str]:
    """Put nginx before several servers as compose.yaml does; give where it listens."""
    port = _free_port()
    upstream = (_ROOT / "deploy" / "nginx-upstream.conf").read_text()
    lines = "\n".join(rf"server {urlsplit(server).netloc}\1;" for server in servers)
    upstream, found = re.subn(r"server api:12111 resolve( .*)?;", lines, upstream)
    assert found == 1
    site = (_ROOT / "deploy" / "nginx.conf").read_text()
    assert "listen 80;" in site
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    with _running(folder, f"{upstream}\n{site}", port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(folder: Path, site: str, port: int) -> Iterator[Nginx]:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/log warn;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{site}\n}}\n"
    )
    running = Nginx(folder, port)
    try:
        yield running
    finally:
        running.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
