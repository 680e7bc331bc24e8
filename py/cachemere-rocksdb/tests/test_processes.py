"""Several processes: one writes, others read and follow; kills, forks and locks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cachemere.errors import BusyError, InvalidOptionError, ReadOnlyError
from cachemere.rocksdb import RocksDBDict
from conftest import TORTURE
from in_process import Running, forked, run

WRITER = """
    d = RocksDBDict(path)
    print("open", flush=True)
    for line in sys.stdin:
        exec(line)
        print("done", flush=True)
"""


def test_one_process_writes_and_others_are_told_what_they_can_do(path: Path) -> None:
    writer = Running(WRITER, path)
    assert writer.line() == "open"
    with pytest.raises(
        BusyError, match="another process has it open for writing.*readonly=True or secondary_mode=True"
    ):
        RocksDBDict(path)
    writer.end()
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    with pytest.raises(BusyError, match="this process has it open for writing.*readonly=True"):
        RocksDBDict(path)
    assert "BusyError" in run(
        """
        try:
            RocksDBDict(path)
        except Exception as error:
            print(type(error).__name__)
        """,
        path,
    )
    d["a"] = 1


def test_looking_at_a_database_does_not_let_others_write_it(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d["a"] = 1
    reader: RocksDBDict[Any, Any] = RocksDBDict(path, readonly=True)
    assert reader["a"] == 1
    reader.close()
    follower: RocksDBDict[Any, Any] = RocksDBDict(path, secondary_mode=True)
    follower.close()
    with pytest.raises(BusyError):
        RocksDBDict(path)
    code = "try: RocksDBDict(path)\nexcept Exception as error: print(type(error).__name__)"
    assert run(code, path) == "BusyError\n"


def test_readers_see_what_was_there(path: Path) -> None:
    writer = Running(WRITER, path)
    writer.line()
    writer.say("d.update(a=1, b=2)")
    writer.line()
    reader: RocksDBDict[Any, Any] = RocksDBDict(path, readonly=True)
    assert dict(reader) == {"a": 1, "b": 2}
    writer.say("d.update(c=3)")
    writer.line()
    assert "c" not in reader and RocksDBDict[Any, Any](path, readonly=True)["c"] == 3
    for work in (
        lambda: reader.__setitem__("x", 1),
        lambda: reader.__delitem__("a"),
        lambda: reader.update(x=1),
        lambda: reader.pop("a"),
        lambda: reader.popitem(),
        lambda: reader.clear(),
        lambda: reader.setdefault("x", 1),
        lambda: reader.flush(),
        lambda: reader.compact(),
    ):
        with pytest.raises(ReadOnlyError):
            work()
    assert reader.setdefault("a", 5) == 1 and reader.pop("x", None) is None
    with pytest.raises(InvalidOptionError, match="secondary"):
        reader.try_catch_up_with_primary()
    writer.end()


def test_a_secondary_catches_up_with_the_primary_in_another_process(path: Path, tmp_path: Path) -> None:
    writer = Running(WRITER, path)
    writer.line()
    writer.say("d['a'] = 1")
    writer.line()
    follower: RocksDBDict[Any, Any] = RocksDBDict(path, secondary_mode=True, secondary_path=tmp_path / "second")
    assert dict(follower) == {"a": 1}
    for number in range(5):
        writer.say(f"d.update((k, {number}) for k in range(1000)); d.flush(); d.compact(); d['last'] = {number}")
        writer.line()
        assert follower.get("last") != number
        follower.try_catch_up_with_primary()
        assert follower["last"] == number and len(follower) == 1002 and follower[999] == number
    with pytest.raises(ReadOnlyError):
        follower["x"] = 1
    writer.kill()
    follower.try_catch_up_with_primary()
    assert follower["last"] == 4


def test_the_notes_of_a_secondary_are_gone_with_it(path: Path, tmp_path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    follower: RocksDBDict[Any, Any] = RocksDBDict(path, secondary_mode=True)
    assert len(list(tmp_path.iterdir())) == 2
    follower.close()
    d.close()
    assert [file.name for file in tmp_path.iterdir()] == ["db"]


@pytest.mark.parametrize("round", range(20 if TORTURE else 3))
def test_a_kill_loses_nothing_that_was_written(path: Path, round: int) -> None:
    writer = Running(
        """
        d = RocksDBDict(path, RocksDBOptions(create_if_missing=True, write_buffer_size=100_000))
        for number in range(1_000_000):
            if number % 10:
                d[number] = "x" * 500
            else:
                d.update({number: "x" * 500, ("pair", number): number})
            print(number, flush=True)
        """,
        path,
    )
    last = -1
    while last < 200 + 333 * round:
        last = int(writer.line())
    writer.kill()
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    assert all(d[number] == "x" * 500 for number in range(last + 1))
    assert sum(1 for key in d if isinstance(key, tuple)) == sum(
        1 for key in d if isinstance(key, int) and key % 10 == 0
    )


def test_a_forked_child_must_not_write_what_its_parent_writes(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d.update((number, number) for number in range(1000))
    walk = iter(d)
    next(walk)
    for work in (lambda: d[1], lambda: d.update(x=1), lambda: len(d), lambda: list(walk), lambda: d.flush()):

        def in_child(work: Any = work) -> str:
            try:
                return f"no error, but {work()}"
            except BusyError as error:
                return f"BusyError: {error}"

        assert "forked" in forked(in_child) and forked(in_child).startswith("BusyError: ")
    assert forked(lambda: str(d.close())) == "None"
    d["a"] = 1
    # The walk ends where it was to end when it began.
    assert d["a"] == 1 and len(d) == 1001 and sum(1 for _ in walk) == 999


def test_a_forked_child_opens_by_itself_what_only_reads(path: Path, tmp_path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    d["a"] = 1
    reader: RocksDBDict[Any, Any] = RocksDBDict(path, readonly=True)
    follower: RocksDBDict[Any, Any] = RocksDBDict(path, secondary_mode=True)
    d["b"] = 2
    assert "b" not in reader

    def in_child() -> str:
        follower.try_catch_up_with_primary()
        return f"{dict(reader)} {dict(follower)}"

    assert forked(in_child) == "{'a': 1, 'b': 2} {'a': 1, 'b': 2}"
    assert dict(reader) == {"a": 1}
    follower.try_catch_up_with_primary()
    assert dict(follower) == {"a": 1, "b": 2}


def test_a_forked_child_that_ends_as_programs_do_does_not_hang(path: Path) -> None:
    assert (
        run(
            """
            d = RocksDBDict(path)
            d.update((number, "x") for number in range(10_000))
            d.flush()
            children = []
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    del d
                    sys.exit(0)
                children.append(pid)
            print([os.waitpid(pid, 0)[1] for pid in children])
            d["after"] = 1
            """,
            path,
        )
        == "[0, 0, 0]\n"
    )
    assert RocksDBDict[Any, Any](path)["after"] == 1


def test_a_program_that_closes_nothing_ends_and_loses_nothing(path: Path) -> None:
    run("d = RocksDBDict(path)\nd['a'] = 1\nwalk = iter(d)\nnext(walk)\n", path)
    assert RocksDBDict[Any, Any](path)["a"] == 1


def test_two_processes_that_make_it_at_once_agree(path: Path) -> None:
    code = """
        sys.stdin.readline()
        try:
            d = RocksDBDict(path, **eval(sys.argv[2]))
            d["a"] = b"1"
            print("made", flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
        sys.stdin.readline()
    """
    for number in range(10 if TORTURE else 3):
        home = path.with_name(f"db{number}")
        both = [Running(code, home, given) for given in ("{}", "dict(deser_key=bytes, deser_value=bytes)")]
        for each in both:
            each.say("go")
        said = sorted(each.line() for each in both)
        assert "made" in said and said != ["made", "made"] and set(said) <= {"made", "BusyError", "IncompatibleError"}
        for each in both:
            each.end()


def test_a_full_disk_is_an_error_and_loses_nothing(path: Path) -> None:
    said = run(
        """
        import resource
        from cachemere.errors import DiskFullError
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        d = RocksDBDict(path)
        written = 0
        try:
            for number in range(1000):
                d[number] = os.urandom(1000)
                written += 1
        except DiskFullError as error:
            print(written, len(d))
        """,
        path,
    )
    written, seen = map(int, said.split())
    assert 100 < written < 300 and seen == written
    d: RocksDBDict[Any, Any] = RocksDBDict(path)
    assert list(d) == list(range(written)) and all(len(value) == 1000 for value in d.values())
    d["more"] = 1
