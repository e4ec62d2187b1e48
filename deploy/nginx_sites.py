"""The sites in ``nginx`` as an nginx of one's own reads them, in any folder and on any ports."""

import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SITES", "Site"]

SITES = Path(__file__).parent / "nginx"
USUAL_ADDRESSES = {"nsqadmin": "127.0.0.1:4171", "oauth2_proxy": "127.0.0.1:4180"}

# What Debian's nginx.conf has around a site; nothing is written outside of the folder.
FRAME = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass
class Site:
    """
    A file in ``nginx``, and what takes the place of what it names.

    Attributes:
        upstreams: addresses by the name of the upstream.
        passwords: lines of an htpasswd file.
    """

    name: str
    certificate: Path
    key: Path
    port: int = 4443
    upstreams: dict[str, str] = field(default_factory=dict)
    passwords: str = ""

    def write(self, folder: Path) -> Path:
        """Write what nginx reads; return the main file."""
        folder.mkdir(exist_ok=True)
        (folder / "site.conf").write_text(self._text(folder))
        (folder / "htpasswd").write_text(self.passwords)
        main = folder / "nginx.conf"
        # Workers of an nginx of root's would be nobody, who can't read the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        main.write_text(FRAME.format(folder=folder, user=user))
        return main

    def _text(self, folder: Path) -> str:
        instead = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/nginx/tls/nsq.pem": str(self.certificate),
            "/etc/nginx/tls/nsq-key.pem": str(self.key),
            "/etc/nginx/nsqadmin-proxy.conf": str(SITES / "nsqadmin-proxy.conf"),
        }
        for upstream, address in self.upstreams.items():
            instead[f"server {USUAL_ADDRESSES[upstream]};"] = f"server {address};"
        text = (SITES / self.name).read_text()
        for old, new in instead.items():
            assert old in text, f"{self.name} has no {old}"
            text = text.replace(old, new)
        return text.replace("/etc/nginx/nsqadmin.htpasswd", str(folder / "htpasswd"))
