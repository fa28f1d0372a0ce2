# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""make setup: .venv with the pinned requirements and the package itself, made again only when one of them changes.

Runs before anything is installed, so: the standard library only, and a syntax that old Pythons can read far enough to
be told that they are too old.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
# Free space in GB: what a setup takes at its peak, wheels and installed packages together (measured, rounded up).
NEEDS, NEEDS_CPU_ONLY = 9, 4
VENV = Path(".venv")
# {"done": digest of SOURCES, "torch_index": where torch came from}. done is "" after an orderly failure, and None while
# pip works: what is found so later was cut off, may hold half a package, and is made anew.
STAMP = VENV / "attn-setup.json"
SOURCES = ("requirements.txt", "constraints.txt", "pyproject.toml")


class Refused(Exception):
    """One readable line that says why this cannot work here."""


def say(text):
    print("setup: " + text, flush=True)


def digest():
    """The hash of everything that decides what is installed."""
    return hashlib.sha256(b"\0".join(Path(name).read_bytes() for name in SOURCES)).hexdigest()


def stamp():
    """What the last setup left, or None where there was none."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None


def leave(**facts):
    aside = STAMP.with_suffix(".part")
    aside.write_text(json.dumps(facts))
    aside.replace(STAMP)


def check_python(version):
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        raise Refused(
            f"Python {version[0]}.{version[1]} does not fit: 3.11, 3.12 or 3.13 is needed; "
            "name one with PYTHON=/path/to/python3.12"
        )
    if importlib.util.find_spec("ensurepip") is None:
        raise Refused(
            "this Python has no ensurepip, which a virtual environment needs (Debian: apt install python3-venv)"
        )


def check_space(needed):
    free = shutil.disk_usage(".").free / 1e9
    if free < needed:
        hint = "" if needed == NEEDS_CPU_ONLY else "; the torch project's CPU-only build needs less, see README.md"
        raise Refused(f"{free:.1f} GB are free here, {needed} GB are needed{hint}")


def check_network(python):
    """Asks pip for one small package, from wherever this machine's pip takes its packages."""
    small = next(line for line in Path("constraints.txt").read_text().splitlines() if line.startswith("zipp=="))
    with tempfile.TemporaryDirectory() as aside:
        ask = [python, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
        done = subprocess.run(
            [*ask, "--retries", "0", "--timeout", "10", "-d", aside, small], capture_output=True, text=True
        )
    if done.returncode:
        raise Refused("pip cannot get packages (no network?): " + last_error(done.stderr))


def last_error(text):
    """The line of pip's output that says most: its own ERROR, or the exception of a package that could not be built."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|\w*Error): ", line)]
    return (errors or lines or ["it said nothing"])[-1]


def pip(*arguments, count=0):
    """Runs the environment's pip and shows one line that moves; ``count`` is about how many packages will come."""
    command = [VENV / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    shown, log, seen = sys.stdout.isatty(), [], 0
    for line in child.stdout:
        log.append(line)
        words = line.split()
        if words[:1] == ["Collecting"]:
            seen += 1
        if shown and words[:1] in (["Collecting"], ["Downloading"], ["Installing"]):
            name = " ".join(words[:2]).split("/")[-1]
            part = f"  {min(seen, count)} of about {count}" if count else ""
            print(f"\r\x1b[K  {name[:60]}{part}", end="", flush=True)
    if shown:
        print("\r\x1b[K", end="", flush=True)
    if child.wait():
        (VENV / "pip.log").write_text("".join(log))
        raise Refused(f"pip could not install: {last_error(''.join(log))} (.venv/pip.log says more)")


def make_venv():
    # The base Python even where .venv itself is activated, because that one has just been deleted.
    subprocess.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", VENV], check=True)


def hook():
    """Puts the hook that keeps outputs out of git where git looks for it, unless another one is there."""
    asked = subprocess.run(["git", "rev-parse", "--git-path", "hooks/pre-commit"], capture_output=True, text=True)
    place = Path(asked.stdout.strip())
    if asked.returncode == 0 and Path(".git").exists() and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(".githooks/pre-commit", place)


def packages(torch_index):
    pinned = Path("constraints.txt").read_text().count("==")
    # torch by itself first: its wheels are gone again before the rest comes, which keeps the peak on the disk low. Not
    # its dependencies where the user named an address: that may have other versions of them than ours.
    source = ["--no-deps", "--index-url", torch_index] if torch_index else []
    pip("torch", "torchvision", *source, "-c", "constraints.txt", count=30)
    pip("-r", "requirements.txt", "-c", "constraints.txt", count=pinned)
    pip("-e", ".", "--no-deps")


def setup(torch_index=None, chosen=False):
    """Makes ``.venv`` what the sources ask for; does nothing when it already is.

    Args:
        torch_index: the address that torch and torchvision come from; None: wherever the other packages come from.
        chosen: whether the user named the Python that runs this.
    """
    check_python(sys.version_info)
    python, before = VENV / "bin/python", stamp()
    usable = python.exists() and (before is None or before["done"] is not None)
    if usable and chosen:
        has = subprocess.run([python, "-V"], capture_output=True, text=True).stdout.strip()
        if not has.startswith(f"Python {sys.version_info[0]}.{sys.version_info[1]}."):
            raise Refused(f".venv has {has}; delete .venv to change that")
    torch_index = torch_index or (before or {}).get("torch_index")
    wanted = {"done": digest(), "torch_index": torch_index}
    if usable and before == wanted:
        return
    if not usable:
        if not VENV.exists():
            check_space(NEEDS_CPU_ONLY if torch_index else NEEDS)
        if importlib.util.find_spec("pip"):
            check_network(sys.executable)
        say(("starting over after a setup that was cut off" if before else "making .venv") + ", some minutes")
        if VENV.exists():
            shutil.rmtree(VENV)
        VENV.mkdir()
    else:
        say("the requirements have changed")
        check_network(str(python))
    leave(done=None, torch_index=torch_index)
    if not usable:
        make_venv()
        if not importlib.util.find_spec("pip"):
            check_network(str(python))
    try:
        packages(torch_index)
    except Refused:
        leave(done="", torch_index=torch_index)
        raise
    if shutil.which("git"):
        hook()
    leave(**wanted)
    say("done")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-index", help="the address torch and torchvision come from (their CPU-only build)")
    parser.add_argument("--chosen", action="store_true", help="the user named this Python")
    options = parser.parse_args()
    try:
        setup(options.torch_index, options.chosen)
    except Refused as reason:
        sys.exit("setup: " + str(reason))
    except KeyboardInterrupt:
        sys.exit("\nsetup: stopped; the same command again starts over")


if __name__ == "__main__":
    main()
