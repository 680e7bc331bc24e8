"""How a process ends, or becomes another one, while it has stores open: quietly, and with nothing left of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cachemere import Cache

BEGIN = """
import os, sys, threading, time, warnings
# What is left to the end is what is tested.
warnings.simplefilter("ignore", DeprecationWarning)
from cachemere import Cache, PersistDict

def held():
    below = os.path.realpath(sys.argv[1])
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    with open("/proc/self/maps") as maps:
        mapped = maps.read().splitlines()
    return [path for path in found if path.startswith(below)], [line for line in mapped if below in line]

caches = [Cache(f"{sys.argv[1]}/{n}", ttl=600) for n in range(3)]
caches.append(PersistDict(f"{sys.argv[1]}/dict"))
for cache in caches:
    cache["key"] = "value"
assert len(held()[0]) == 16, held()
"""

#: What is run behind the beginning, and what the program's status is to be.
ENDS = {
    "at its end": ("", 0),
    "os._exit": ("os._exit(7)", 7),
    "sys.exit in the main thread": ("sys.exit(3)", 3),
    "os.execv": (
        """
left = "import os; print([p for p in map(os.readlink, ('/proc/self/fd/' + n for n in os.listdir('/proc/self/fd') if"
left += " os.path.exists('/proc/self/fd/' + n))) if p.startswith(os.path.realpath(" + repr(sys.argv[1]) + "))])"
os.execv(sys.executable, [sys.executable, "-c", left])
""",
        0,
    ),
    "a program without close_fds": (
        """
import subprocess
listed = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True)
print([line for line in listed.stdout.splitlines() if os.path.realpath(sys.argv[1]) in line])
""",
        0,
    ),
    "daemon threads that read and write": (
        """
def work(cache, n):
    while True:
        cache[f"{n}"] = cache.get("key")
        if isinstance(cache, Cache):
            cache.get_or_set(f"{time.monotonic()}", lambda: "loaded")

for n, cache in enumerate(caches * 2):
    threading.Thread(target=work, args=(cache, n), daemon=True).start()
time.sleep(0.3)
""",
        0,
    ),
    "a daemon thread that waits for a load": (
        """
def slow():
    time.sleep(60)
for _ in range(2):
    threading.Thread(target=lambda: caches[0].get_or_set("slow", slow), daemon=True).start()
time.sleep(0.2)
""",
        0,
    ),
    "a child that ends by os._exit": (
        """
child = os.fork()
if child == 0:
    assert not [path for path in held()[0] if not path.endswith("data.mdb")], held()
    assert caches[0]["key"] == "value"
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
caches[0]["key"] = "value"
""",
        0,
    ),
}


def ended(path: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", BEGIN + program, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("way", ENDS)
def test_a_process_ends_quietly(way: str, tmp_path: Path) -> None:
    program, status = ENDS[way]
    done = ended(tmp_path, program)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout in ("", "[]\n")
    with Cache(tmp_path / "0") as cache:
        assert cache["key"] == "value"
        cache.compact()


def test_a_closed_handle_that_is_still_there_keeps_nothing(tmp_path: Path) -> None:
    done = ended(
        tmp_path,
        """
walk = iter(caches[0])
next(walk)
more = Cache(f"{sys.argv[1]}/0", namespace="more")
more["key"] = [1, 2]
value = more["key"]
for it in [more, *caches]:
    it.close()
until = time.monotonic() + 20
while held() != ([], []):
    assert time.monotonic() < until, held()
    time.sleep(0.01)
assert value == [1, 2]
""",
    )
    assert (done.returncode, done.stderr) == (0, "")


SUBINTERPRETER = """
interpreters = __import__("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
other = interpreters.create()
code = f"try:\\n from cachemere import Cache\\n with Cache({sys.argv[1] + '/0'!r}) as c: c['other'] = c['key']\\n"
code += "except ImportError: pass"
assert interpreters.run_string(other, code) is None
interpreters.destroy(other)
assert all(cache["key"] == "value" for cache in caches)
caches[0]["key"] = "value"
assert caches[0].get("other") in (None, "value")
"""


def test_a_subinterpreter_harms_nobody(tmp_path: Path) -> None:
    """It uses the store like any other handle, or cannot import the package, as the version of Python has it."""
    done = ended(tmp_path, SUBINTERPRETER)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
