# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""make serve: the built site on this machine, for this machine only; SERVE_PORT chooses another port than 8000."""

import functools
import http.server
import os
import sys
from pathlib import Path

SITE = Path("_build/html")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main():
    if not (SITE / "index.html").exists():
        sys.exit("serve: there is no site yet; make book builds it")
    port = int(os.environ.get("SERVE_PORT", "8000"))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Quiet, directory=str(SITE)))
    except OSError as error:
        sys.exit(f"serve: port {port} cannot be had ({error.strerror}); SERVE_PORT=8001 make serve takes another")
    print(f"http://127.0.0.1:{port}/  (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
