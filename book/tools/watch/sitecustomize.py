# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Notes what a running page uses: the attn modules it imports, and the files and folders under data/ that it reads.

Python imports this file by itself at the start of every process whose PYTHONPATH has this folder, so the page's kernel
is watched and so is every Python that the page starts. A note is one line, ``import NAME``, ``read PATH``, ``list
PATH`` or ``write PATH``, appended at once: a process that is killed or forked loses none.
"""

import os
import sys


def watch(notes: str, data: str) -> None:
    seen = set()

    def note(kind, what):
        line = f"{kind} {what}\n"
        if line not in seen:
            seen.add(line)
            file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(file, line.encode())
            os.close(file)

    class Finder:
        """Finds nothing: it stands first in line and sees each name that is imported for the first time."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "attn" or name.startswith("attn."):
                note("import", name)

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            kind = "write" if flags & (os.O_WRONLY | os.O_RDWR) else "read"
        elif event in ("os.listdir", "os.scandir"):
            path, kind = arguments[0], "list"
        else:
            return
        if isinstance(path, (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(path))
            if path == data or path.startswith(data + os.sep):
                note(kind, path)

    sys.meta_path.insert(0, Finder)
    sys.addaudithook(hook)


if "ATTN_NOTES" in os.environ:
    watch(os.environ["ATTN_NOTES"], os.environ["ATTN_NOTES_DATA"])
