"""An encrypted store asks for its secret, which is unambiguous wherever it comes from, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cachemere import Cache
from cachemere._core.options import Options, Secret
from cachemere._engine import Store
from command_line import here, ok, run
from terminal import on_a_terminal

KEY, PHRASE = bytes(range(32)), "sésame ouvre-toi"


@pytest.fixture
def with_key(tmp_path: Path) -> Path:
    with Cache(tmp_path / "key", encryption_key=KEY) as cache:
        cache["k"] = "of the key"
    return tmp_path / "key"


@pytest.fixture
def with_phrase(tmp_path: Path) -> Path:
    with Cache(tmp_path / "phrase", encryption_key=PHRASE) as cache:
        cache["k"] = "of the phrase"
    return tmp_path / "phrase"


def test_a_key_comes_from_a_file_of_32_bytes_or_the_environment(with_key: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(KEY)
    assert ok("get", with_key, "k", "--key-file", tmp_path / "file").json() == "of the key"
    assert ok("get", with_key, "k", CACHEMERE_KEY=f"hex:{KEY.hex().upper()}").json() == "of the key"
    assert ok("stats", with_key, "--json", CACHEMERE_KEY=f"hex:{KEY.hex()}").json()["encrypted"] is True


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_passphrase_comes_from_a_file_of_which_one_line_end_is_dropped(
    with_phrase: Path, tmp_path: Path, end: str
) -> None:
    (tmp_path / "file").write_bytes(f"{PHRASE}{end}".encode())
    assert ok("get", with_phrase, "k", "--passphrase-file", tmp_path / "file").json() == "of the phrase"


def test_a_passphrase_comes_from_the_environment_as_it_stands(with_phrase: Path) -> None:
    assert ok("get", with_phrase, "k", CACHEMERE_KEY=PHRASE).json() == "of the phrase"
    done = run("get", with_phrase, "k", CACHEMERE_KEY=f"{PHRASE}\n")
    assert done.status == 1 and "wrong secret" in done.err


def test_a_passphrase_of_32_letters_is_no_key(tmp_path: Path) -> None:
    store, file = tmp_path / "store", tmp_path / "file"
    phrase = "p" * 32
    with Cache(store, encryption_key=phrase) as cache:
        cache["k"] = 1
    file.write_text(phrase)
    assert ok("get", store, "k", "--passphrase-file", file).json() == 1
    assert run("get", store, "k", "--key-file", file).status == 1, "it has 32 bytes, so it is a key, and a wrong one"


def test_every_command_takes_the_secret(with_key: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(KEY)
    for command in ("stats", "ls", "verify", "sweep", "compact", "export"):
        assert ok(command, with_key, "--key-file", tmp_path / "file").out
    ok("backup", with_key, tmp_path / "backup", "--key-file", tmp_path / "file")
    assert ok("get", tmp_path / "backup", "k", "--key-file", tmp_path / "file").json() == "of the key"


@pytest.mark.parametrize(
    ("contents", "option", "said"),
    [
        (KEY + b"\n", "--key-file", "has 33 bytes"),
        (b"", "--key-file", "has 0 bytes"),
        (KEY[:31] + b"\xff", "--passphrase-file", "not text in UTF-8"),
        (b"\n", "--passphrase-file", "is empty"),
        (b"x" * (2 << 20), "--passphrase-file", "longer than a secret"),
        (None, "--key-file", "No such file"),
        (None, "--passphrase-file", "No such file"),
    ],
)
def test_a_file_that_holds_no_secret_is_wrong_usage(
    with_key: Path, tmp_path: Path, contents: bytes | None, option: str, said: str
) -> None:
    file = tmp_path / "secret"
    if contents is not None:
        file.write_bytes(contents)
    done = here("get", with_key, "k", option, file)
    assert (done.status, done.out) == (2, "") and said in done.err and str(file) in done.err


def test_hex_that_is_no_key_is_wrong_usage_and_not_taken_for_a_passphrase(with_key: Path) -> None:
    for text in ("hex:12", f"hex:{KEY.hex()}0", f"hex:{KEY.hex()[:-1]}", "hex:" + "x" * 64):
        done = here("get", with_key, "k", CACHEMERE_KEY=text)
        assert done.status == 2 and "64 hexadecimal digits" in done.err and text not in done.err


def test_both_files_at_once_are_wrong_usage(with_key: Path) -> None:
    done = here("ls", with_key, "--key-file", "a", "--passphrase-file", "b")
    assert done.status == 2 and "not allowed with" in done.err


def test_a_wrong_secret_is_an_error_that_does_not_show_it(with_key: Path, with_phrase: Path) -> None:
    for store in (with_key, with_phrase):
        for command in ("stats", "ls", "verify", "sweep", "compact", "export"):
            done = here(command, store, CACHEMERE_KEY="hunter2")
            assert (done.status, done.out) == (1, "") and "wrong secret" in done.err and "hunter2" not in done.err
            if store == with_phrase:
                break


def test_without_a_secret_and_a_terminal_it_says_how_to_give_one(with_key: Path) -> None:
    done = run("ls", with_key)
    assert (done.status, done.out) == (1, "")
    assert all(way in done.err for way in ("--key-file", "--passphrase-file", "$CACHEMERE_KEY"))


def test_a_store_that_is_not_encrypted_asks_for_nothing(path: Path, tmp_path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    assert ok("get", path, "k", CACHEMERE_KEY="for another store").out == "1\n"
    status, seen = on_a_terminal("get", str(path), "k")
    assert (status, seen) == (0, "1\n")
    (tmp_path / "file").write_bytes(KEY)
    done = run("get", path, "k", "--key-file", tmp_path / "file")
    assert done.status == 1 and "not encrypted" in done.err, "what was said on the command line is not passed over"


def test_on_a_terminal_it_asks_and_does_not_echo(with_phrase: Path, with_key: Path) -> None:
    status, seen = on_a_terminal("get", str(with_phrase), "k", typed=PHRASE)
    assert (status, seen) == (0, f'Passphrase of {with_phrase}: \n"of the phrase"\n')
    status, seen = on_a_terminal("get", str(with_key), "k", typed=f"hex:{KEY.hex()}")
    assert status == 0 and seen.endswith('"of the key"\n') and KEY.hex() not in seen
    status, seen = on_a_terminal("get", str(with_phrase), "k", typed="wrong")
    assert status == 1 and "wrong secret" in seen
    status, seen = on_a_terminal("get", str(with_phrase), "k", typed="")
    assert status == 1 and "no passphrase was given" in seen
    status, seen = on_a_terminal("get", str(with_phrase), "k", typed="\4")
    assert status == 1 and "no passphrase was given" in seen
    status, seen = on_a_terminal("get", str(with_phrase), "k", typed="\3")
    assert status == 130 and "Traceback" not in seen


@pytest.mark.parametrize(
    "command", [["stats", "--full"], ["ls"], ["export"], ["get", "k"], ["verify"], ["sweep"], ["compact"]], ids=" ".join
)
def test_a_passphrase_is_used_once_however_many_namespaces_there_are(
    with_phrase: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Cache(with_phrase, encryption_key=PHRASE) as cache:
        for number in range(5):
            with cache.namespace(f"n{number}") as other:
                other["k"] = number
    given: list[object] = []

    def open_and_note(options: Options, secret: Secret | None) -> Store:
        given.append(secret)
        return opened(options, secret)

    opened = Options.open
    monkeypatch.setattr(Options, "open", open_and_note)
    done = here(command[0], with_phrase, *command[1:], CACHEMERE_KEY=PHRASE)
    assert (done.status, done.err) == (0, "")
    # The first finds out that there is a secret.
    assert given[:2] == [None, PHRASE] and set(given[2:]) <= {None}
    if command[0] in ("stats", "ls", "export"):
        assert len(given) == 2 + 6


def test_the_question_does_not_go_to_the_output(with_phrase: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    status, seen = on_a_terminal("export", str(with_phrase), "-o", str(file), typed=PHRASE)
    assert status == 0 and "wrote 1 entry" in seen and '"of the phrase"' in file.read_text()
