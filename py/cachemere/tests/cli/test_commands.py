"""What each command shows and does, in a process of its own, on a store of several namespaces."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from cachemere import Cache, PersistDict
from cachemere.cli import units
from command_line import here, ok, run


@pytest.fixture
def store(path: Path) -> Path:
    with Cache(path, compression=True) as cache:
        cache.set("answer", {"text": "42", "tokens": (1, 2)}, ttl=3600, tags=("llm", "two words"))
        cache["big"] = "x" * 10 + "".join(map(str, range(5000)))
        cache["none"] = None
    with Cache(path, namespace="other") as cache:
        cache[1], cache["1"], cache[("a", 1)] = "int", "text", [1, 2.5]
    with PersistDict[str, int](path, namespace="brief", ttl=0.01, background_thread="disabled") as d:
        d.update({"gone": 1, "too": 2})
    time.sleep(0.02)
    return path


def test_stats_shows_files_and_namespaces(store: Path) -> None:
    lines = ok("stats", store).out.splitlines()
    assert lines[0] == f"store      {store}"
    assert lines[1] == "backend    LMDB, format 2, not encrypted"
    assert re.fullmatch(r"made       \d+ (s|min) ago", lines[2])
    assert re.match(r"on disk    [\d.]+ KiB \(control [\d.]+ KiB, data\.mdb [\d.]+ KiB\)$", lines[3])
    assert re.fullmatch(r"of that    entries [\d.]+ KiB, free [\d.]+ (KiB|B)", lines[4])
    assert ok("stats", store).table()[6] == ["ENTRIES", "AT MOST", "OLDEST", "NEWEST", "COMPRESSION", "NAMESPACE"]
    rows = [(line.split()[0], line.split()[1], line.split()[-2], line.split()[-1]) for line in lines[7:]]
    assert rows == [("0", "-", "none", "brief"), ("3", "-", "zstd", "default"), ("3", "-", "none", "other")]

    shown = ok("stats", store, "--json").json()
    assert (shown["path"], shown["backend"], shown["encrypted"], shown["entries"]) == (str(store), "lmdb", False, 6)
    assert (shown["format_version"], shown["cipher"], shown["max_bytes"]) == (2, None, None)
    assert (
        time.time() - 60 < shown["created"] <= shown["namespaces"][1]["oldest"]
        and len(bytes.fromhex(shown["id"])) == 16
    )
    assert {file["name"]: file["bytes"] for file in shown["files"]} == {
        name: (store / name).stat().st_blocks * 512 for name in ("control", "data.mdb")
    }
    assert shown["bytes_on_disk"] == sum(file["bytes"] for file in shown["files"])
    data = (store / "data.mdb").stat().st_blocks * 512
    assert shown["log_bytes"] == 0 < shown["record_bytes"] <= data - shown["free_bytes"]
    default = shown["namespaces"][1]
    assert default.keys() == {
        "name", "entries", "key_serializer", "serializer", "compressor", "max_entries", "oldest", "newest", "bytes",
        "expiring", "pickled",
    }  # fmt: skip
    assert (default["name"], default["serializer"], default["bytes"]) == ("default", "python", None)
    assert (default["key_serializer"], default["compressor"], default["max_entries"]) == ("python", "zstd", None)
    assert shown["namespaces"][2]["compressor"] is None
    assert time.time() - 60 < default["oldest"] <= default["newest"] < time.time() + 1
    assert "expired_not_swept" not in shown

    one = ok("stats", store, "--json", "--namespace", "other").json()
    assert [namespace["name"] for namespace in one["namespaces"]] == ["other"]


def test_stats_shows_limits(path: Path) -> None:
    with Cache(path, max_bytes=16 << 20, max_entries=2500) as cache:
        cache["k"] = 1
    with Cache(path, namespace="free") as cache:
        cache["k"] = 1
    done = ok("stats", path)
    assert re.match(r"on disk    [\d.]+ KiB of at most 16\.0 MiB \(", done.out.splitlines()[3])
    rows = [(row[0], row[1], row[-1]) for row in done.table()[7:]]
    assert rows == [("1", "2,500", "default"), ("1", "-", "free")]
    shown = ok("stats", path, "--json").json()
    assert shown["max_bytes"] == 16 << 20
    assert [namespace["max_entries"] for namespace in shown["namespaces"]] == [2500, None]
    assert ok("backup", path, path.parent / "copy").out
    assert ok("stats", path.parent / "copy", "--json").json()["id"] == shown["id"]


def test_stats_can_read_everything(store: Path) -> None:
    with PersistDict[str, object](store, namespace="pickles", background_thread="disabled") as d:
        d["object"] = object()
    shown = ok("stats", store, "--full", "--json").json()
    assert shown["expired_not_swept"] == 2
    counts = {it["name"]: (it["expiring"], it["pickled"]) for it in shown["namespaces"]}
    assert counts == {"brief": (0, 0), "default": (1, 0), "other": (0, 0), "pickles": (0, 1)}
    with Cache(store, read_only=True) as cache:
        sizes = [info.size for key in cache if (info := cache.info(key))]
    assert shown["namespaces"][1]["bytes"] == sum(sizes)
    assert "expired    2 entries not swept yet" in ok("stats", store, "--full").out


def test_ls_lists_all_that_is_there(store: Path) -> None:
    head, *rows = ok("ls", store).table()
    assert head == [
        "SIZE", "AGE", "LAST USED", "EXPIRES", "KIND", "TAGS", "NAMESPACE", "KEY",
    ]  # fmt: skip
    shown = [tuple(row[3:]) for row in rows]
    assert shown == [
        ("in 59 min", "dict", "llm,two words", "default", "answer"),
        ("never", "str", "-", "default", "big"),
        ("never", "None", "-", "default", "none"),
        ("never", "str", "-", "other", "1"),
        ("never", "str", "-", "other", "'1'"),
        ("never", "list", "-", "other", "('a', 1)"),
    ]
    # Compressed, and with a unit.
    assert "KiB" in rows[1][0]

    with Cache(store, read_only=True) as cache:
        info = cache.info("answer")
    assert info is not None
    first = ok("ls", store, "--json").lines()[0]
    assert first == {
        "namespace": "default",
        "key": "answer",
        "tags": ["llm", "two words"],
        "size": info.size,
        "created": info.created,
        "modified": info.mtime,
        "accessed": info.atime,
        "expires": info.expires_at,
        "idle": None,
        "kind": "dict",
    }


def test_ls_shows_what_expires_when_it_is_not_used(path: Path) -> None:
    with Cache(path, idle=7200) as cache:
        cache["idle"] = 1
        cache.set("both", 2, ttl=3600)
    assert [row[3] for row in here("ls", path).table()[1:]] == ["in 119 min (idle 2 h)", "in 59 min (idle 2 h)"]
    assert [units.length(seconds) for seconds in (0.25, 1, 90, 1e6)] == ["0.25 s", "1 s", "90 s", "11 d"]
    lines = here("ls", path, "--json").lines()
    assert [line["idle"] for line in lines] == [7200, 7200]
    assert lines[0]["expires"] == pytest.approx(lines[0]["accessed"] + 7200)
    assert here("get", path, "idle", "--json").json()["idle"] == 7200


def test_ls_of_one_namespace_names_no_other(store: Path) -> None:
    head, *rows = ok("ls", store, "--namespace", "other").table()
    assert "NAMESPACE" not in head and [row[-1] for row in rows] == ["1", "'1'", "('a', 1)"]
    empty = ok("ls", store, "--namespace", "brief")
    assert len(empty.out.splitlines()) == 1 and ok("ls", store, "--namespace", "brief", "--json").out == ""


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--limit", "2"], ["answer", "big"]),
        (["--reverse"], [["a", 1], "1", 1, "none", "big", "answer"]),
        (["--reverse", "--limit", "1"], [["a", 1]]),
        (["--prefix", "b"], ["big"]),
        (["--prefix", ""], ["answer", "big", "none", 1, "1", ["a", 1]]),
        # As they are shown, whatever they are.
        (["--prefix", "('a'"], [["a", 1]]),
        (["--match", "*1"], [1, "1"]),
        (["--match", "'1'"], ["1"]),
        (["--match", "(*, 1)"], [["a", 1]]),
        (["--match", "*n*e*"], ["answer", "none"]),
        (["--match", "N*"], []),
        (["--tag", "two words"], ["answer"]),
        (["--tag", "two"], []),
        (["--sort", "size", "--reverse", "--limit", "1"], ["big"]),
        (["--sort", "key"], ["'1'", "('a', 1)", "1", "answer", "big", "none"]),
        (["--sort", "expires", "--limit", "1"], ["answer"]),
        (["--sort", "created"], ["answer", "big", "none", 1, "1", ["a", 1]]),
        (["--sort", "modified", "--reverse", "--limit", "1"], [["a", 1]]),
        (["--sort", "accessed", "--limit", "1"], ["answer"]),
    ],
    ids=lambda part: " ".join(map(str, part)),
)
def test_ls_finds_and_sorts(store: Path, options: list[str], keys: list[object]) -> None:
    if options == ["--sort", "key"]:
        # In the order in which the table shows them.
        assert [row[-1] for row in here("ls", store, *options).table()[1:]] == keys
        return
    found = [line["key"] for line in here("ls", store, *options, "--json").lines()]
    assert [key["$tuple"] if isinstance(key, dict) else key for key in found] == keys


def test_get_prints_the_value(store: Path) -> None:
    done = ok("get", store, "answer")
    assert done.out == '{\n  "text": "42",\n  "tokens": {\n    "$tuple": [\n      1,\n      2\n    ]\n  }\n}\n'
    assert ok("get", store, "none").out == "null\n"
    assert ok("get", store, "1", "--namespace", "other").out == '"text"\n'
    assert ok("get", store, "1", "--literal", "--namespace", "other").out == '"int"\n'
    assert ok("get", store, '("a", 1)', "--literal", "--namespace", "other").json() == [1, 2.5]
    assert ok("get", store, "big", "--raw").out.endswith("49984999")

    whole = ok("get", store, "answer", "--json").json()
    listed = ok("ls", store, "--json", "--limit", "1").lines()[0]
    assert whole == {key: value for key, value in listed.items() if key != "kind"} | {
        "cost": None,
        "value": {"text": "42", "tokens": {"$tuple": [1, 2]}},
    }


def test_get_of_an_absent_key_says_so(store: Path) -> None:
    done = run("get", store, "nothing")
    assert (done.status, done.out) == (1, "")
    assert done.err == "cachemere: no entry with the key 'nothing' in the namespace 'default'\n"
    done = run("get", store, "('a', 1)", "--namespace", "other")
    assert done.status == 1 and "there is one with the key ('a', 1), which is no text: say --literal" in done.err
    done = run("get", store, "gone", "--namespace", "brief")
    assert done.status == 1 and "no entry" in done.err, "an expired entry is absent"


def test_what_cost_time_says_how_much(path: Path) -> None:
    def slow() -> int:
        time.sleep(0.05)
        return 1

    with Cache(path) as cache:
        cache.memoize(slow)()
    assert ok("export", path).lines()[0]["cost"] >= 0.05


def test_verify_tells_how_much_it_read(store: Path) -> None:
    done = ok("verify", store)
    assert done.out.splitlines()[0].startswith("read 8 entries, ") and done.out.splitlines()[1:] == ["no problems"]
    shown = ok("verify", store, "--json").json()
    assert shown.keys() == {"path", "entries", "bytes", "problems", "described"}
    assert (shown["entries"], shown["problems"], shown["described"]) == (8, 0, [])


def test_sweep_removes_what_is_expired_and_nothing_else(store: Path) -> None:
    assert ok("sweep", store, "--json").json() == {"path": str(store), "swept": 2}
    assert ok("sweep", store).out == "removed 0 expired entries\n"
    shown = ok("stats", store, "--full", "--json").json()
    assert shown["expired_not_swept"] == 0 and shown["entries"] == 6
    assert [it["name"] for it in shown["namespaces"]] == ["brief", "default", "other"], "and makes no namespace"


def test_stats_tells_of_the_log_while_a_program_writes(store: Path) -> None:
    with Cache(store) as cache:
        cache["new"] = "x" * 50_000
        # Unless it was moved from there in the meantime.
        for _ in range(20):
            shown = ok("stats", store, "--json").json()
            logs = [file for file in shown["files"] if file["name"].startswith("log-")]
            assert logs and shown["bytes_on_disk"] > shown["log_bytes"]
            if shown["log_bytes"]:
                break
            cache["new"] = "x" * 50_000
        assert 50_000 < shown["log_bytes"] <= sum(file["bytes"] for file in logs)


def test_compact_gives_space_back(path: Path) -> None:
    with Cache(path, max_entries=500) as cache:
        cache.set_many({number: "x" * 1000 for number in range(500)})
    # Too little for the store to give it back by itself.
    with Cache(path, max_entries=500) as cache:
        cache.clear()
        cache["k"] = 1
    before = (path / "data.mdb").stat().st_blocks * 512
    shown = ok("compact", path, "--json").json()
    given_back = before - (path / "data.mdb").stat().st_blocks * 512
    assert shown["bytes_before"] - shown["bytes_after"] == given_back > 100_000
    assert ok("compact", path).out.startswith("gave back 0 B: ")
    with Cache(path) as cache:
        assert dict(cache.items()) == {"k": 1}
        cache.set_many({number: 1 for number in range(600)})
        assert len(cache) <= 500, "the limit that the store has is still there"


def test_compact_of_a_store_that_somebody_has_open_says_so(store: Path) -> None:
    with Cache(store) as cache:
        assert cache["none"] is None
        done = run("compact", store)
        assert done.status == 1 and "other processes have it open" in done.err
        assert ok("ls", store, "--limit", "1", "--json").lines()[0]["key"] == "answer", "looking is possible"


def test_backup_makes_a_store_with_the_same_entries(store: Path, tmp_path: Path) -> None:
    made = tmp_path / "backup"
    with Cache(store) as cache:
        cache["new"] = 1
        done = ok("backup", store, made)
        assert done.out.startswith("copied ") and done.out.endswith(f" to {made}\n")
    assert ok("export", made).out == ok("export", store).out
    again = run("backup", store, made)
    assert again.status == 2 and "exists" in again.err
    other = ok("backup", store, tmp_path / "other", "--json").json()
    assert other.keys() == {"path", "destination", "bytes"} and other["bytes"] > 10_000


def test_export_writes_every_entry(store: Path, tmp_path: Path) -> None:
    lines = ok("export", store).lines()
    assert [line["key"] for line in lines] == ["answer", "big", "none", 1, "1", {"$tuple": ["a", 1]}]
    assert lines[0]["value"] == {"text": "42", "tokens": {"$tuple": [1, 2]}} and lines[0]["tags"] == [
        "llm",
        "two words",
    ]
    assert lines[0].keys() == {
        "namespace", "key", "tags", "size", "created", "modified", "accessed", "expires", "idle", "cost", "value",
    }  # fmt: skip
    file = tmp_path / "entries.jsonl"
    file.write_text("of yesterday")
    file.chmod(0o644)
    done = ok("export", store, "-o", file, "--force", "--namespace", "other")
    assert done.out == f"wrote 3 entries to {file}\n"
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines[3:]
    assert file.stat().st_mode & 0o777 == 0o600
    assert {place.name for place in tmp_path.iterdir() if place.is_file()} == {"entries.jsonl"}


def test_a_disabled_cache_is_not_shown_as_empty(store: Path) -> None:
    assert ok("export", store, CACHEMERE_DISABLE="1").out == ok("export", store).out != ""
    assert ok("get", store, "none", CACHEMERE_DISABLE="1").out == "null\n"
    assert ok("sweep", store, CACHEMERE_DISABLE="1").out == "removed 2 expired entries\n"
