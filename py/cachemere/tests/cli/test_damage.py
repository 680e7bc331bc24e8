"""A damaged store is reported, entry by entry, and what can be read is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cachemere import Cache
from command_line import here, ok, run

GOOD, BAD = "good " * 20, "to be damaged " * 20


def damage(store: Path) -> None:
    """Changes one letter of one value."""
    file = store / "data.mdb"
    before = file.read_bytes()
    assert BAD.encode() in before
    file.write_bytes(before.replace(BAD.encode(), BAD.replace("t", "T", 1).encode()))


@pytest.fixture
def damaged(path: Path) -> Path:
    with Cache(path) as cache:
        cache["a"], cache["b"], cache["c"] = GOOD, BAD, GOOD
    damage(path)
    return path


def test_verify_finds_it_and_ends_with_1(damaged: Path) -> None:
    done = run("verify", damaged)
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0].startswith("read ") and lines[1] == "1 problem" and len(lines) == 3
    assert "checksum" in lines[2] and lines[2].startswith("  ")
    shown = run("verify", damaged, "--json")
    assert shown.status == 1 and shown.json()["problems"] == 1 and len(shown.json()["described"]) == 1


@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["export"], ["stats", "--full"]], ids=" ".join)
def test_what_can_be_read_is_shown(damaged: Path, command: list[str]) -> None:
    done = run(command[0], damaged, *command[1:])
    assert done.status == 1 and "cachemere: an entry in 'default': " in done.err and "checksum" in done.err
    if command[0] != "stats":
        assert len(done.out.splitlines()) == (3 if command == ["ls"] else 2)


def test_an_export_says_how_many_are_missing(damaged: Path, tmp_path: Path) -> None:
    done = run("export", damaged, "-o", tmp_path / "out")
    assert done.status == 1 and "1 entry could not be written" in done.err
    assert done.out == f"wrote 2 entries to {tmp_path / 'out'}\n"
    assert (tmp_path / "out").read_text().count("\n") == 2


def test_get_of_a_damaged_entry_is_an_error(damaged: Path) -> None:
    done = here("get", damaged, "b")
    assert (done.status, done.out) == (1, "") and "damaged" in done.err
    assert here("get", damaged, "a").json() == GOOD


def test_a_tampered_entry_of_an_encrypted_store_is_an_error(path: Path) -> None:
    with Cache(path, encryption_key="secret") as cache:
        cache["k"] = BAD
    import lmdb

    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        (entry,) = [bytes(value) for key, value in transaction.cursor() if key[:1] == b"e"]
    file = path / "data.mdb"
    forged = entry[:-1] + bytes([entry[-1] ^ 1])
    file.write_bytes(file.read_bytes().replace(entry, forged))
    for command in (["verify"], ["export"], ["get", "k"]):
        done = here(command[0], path, *command[1:], CACHEMERE_KEY="secret")
        assert done.status == 1 and "Traceback" not in done.err, command


def test_a_store_cut_short_is_an_error(path: Path) -> None:
    with Cache(path) as cache:
        cache.set_many({number: "x" * 1000 for number in range(500)})
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes()[:8192])
    for command in ("stats", "ls", "verify", "export", "sweep", "compact"):
        done = run(command, path)
        assert (done.status, done.out) == (1, "") and done.err.startswith("cachemere: "), command
    assert file.stat().st_size == 8192


def test_a_store_of_another_serializer_says_so(path: Path) -> None:
    # As the Rust crate names it; the record of a namespace has these names with their lengths.
    with Cache(path) as cache:
        cache["k"] = 1
    file = path / "data.mdb"
    python = b"\x06python\x06python\x00"
    assert python in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(python, b"\x06msgpak\x06msgpak\x00"))
    for command in (["ls"], ["export"], ["get", "k"]):
        done = here(command[0], path, *command[1:])
        assert done.status == 1 and len(done.out.splitlines()) == (command == ["ls"])
        assert "written by another program, with the serializer 'msgpak'" in done.err
    with Cache(path, namespace="ours") as cache:
        cache["k"] = 1
    for name, lines in (("ls", 2), ("export", 1)):
        done = here(name, path)
        assert done.status == 1 and len(done.out.splitlines()) == lines and "by another program" in done.err
    shown = ok("stats", path)
    assert shown.out.splitlines()[7].split()[:4] == ["1", "-", "-", "-"] and "(serializer: msgpak)" in shown.out
    for name in ("verify", "sweep", "compact"):
        assert here(name, path).status == 0


def test_a_namespace_with_another_serializer_for_keys_is_not_ours(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"\x06python\x06python\x00", b"\x06utf8-k\x06python\x00"))
    done = here("ls", path)
    assert done.status == 1 and "written by another program" in done.err
    shown = ok("stats", path)
    assert "default  (serializer: utf8-k, python)" in shown.out
    (namespace,) = ok("stats", path, "--json").json()["namespaces"]
    assert (namespace["entries"], namespace["key_serializer"], namespace["oldest"]) == (1, "utf8-k", None)


def test_a_compressor_that_this_program_does_not_have_stands_in_no_way(path: Path) -> None:
    with Cache(path, compression=True, namespace="foreign") as cache:
        cache["k"] = 1
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"\x06python\x06python\x04zstd", b"\x06msgpak\x06msgpak\x04lz77"))
    with Cache(path, namespace="ours") as cache:
        cache["k"] = 1
    shown = ok("stats", path, "--json").json()
    assert [it["compressor"] for it in shown["namespaces"]] == ["lz77", None]
    for name in ("verify", "sweep", "compact"):
        assert here(name, path).status == 0
