"""The secret of the default store comes from the environment, or from a function; and is nowhere to be seen."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cachemere
import pytest
from cachemere import Cache
from cachemere._core.options import _secrets
from cachemere.errors import InvalidOptionError, WrongSecretError

SECRET = "correct horse battery"


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default directory of its own, and nothing in the environment."""
    path = tmp_path / "default"
    monkeypatch.setenv("CACHEMERE_DIR", str(path))
    for name in ("CACHEMERE_KEY", "CACHEMERE_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return path


def _cipher(**options: object) -> str | None:
    with Cache(**options) as cache:  # type: ignore[arg-type]
        cache["k"] = "v"
        return cache.describe().cipher


def test_the_key_of_the_environment_encrypts_the_default_store(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    assert _cipher() == "xchacha20poly1305"
    monkeypatch.setenv("CACHEMERE_KEY", "another")
    with pytest.raises(WrongSecretError, match=r"that of \$CACHEMERE_KEY"):
        Cache()["k"]
    monkeypatch.delenv("CACHEMERE_KEY")
    with pytest.raises(WrongSecretError, match="is encrypted"):
        Cache()["k"]


def test_a_file_may_have_it(default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text(f"hex:{'ab' * 32}\n")
    monkeypatch.setenv("CACHEMERE_KEY_FILE", str(file))
    assert _cipher() == "xchacha20poly1305"
    monkeypatch.delenv("CACHEMERE_KEY_FILE")
    assert Cache(default, encryption_key=b"\xab" * 32)["k"] == "v"
    for content, said in ((b"\xff" * 32, "not text in UTF-8"), (b"", "is empty"), (b"hex:12", "64 hexadecimal")):
        file.write_bytes(content)
        monkeypatch.setenv("CACHEMERE_KEY_FILE", str(file))
        with pytest.raises(InvalidOptionError, match=said):
            Cache()["k"]
    file.unlink()
    with pytest.raises(InvalidOptionError, match="cannot be read"):
        Cache()["k"]


def test_two_are_an_error_and_an_empty_one_is_not_no_one(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", "")
    with pytest.raises(InvalidOptionError, match=r"\$CACHEMERE_KEY is empty"):
        Cache()["k"]
    monkeypatch.setenv("CACHEMERE_KEY_FILE", "/nowhere")
    with pytest.raises(InvalidOptionError, match="both set"):
        Cache()["k"]
    assert not default.exists()


def test_a_store_that_a_program_named_does_not_get_it(
    default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    assert _cipher(path=tmp_path / "named") is None


def test_an_argument_comes_before_the_environment(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    assert _cipher(encryption_key="mine") == "xchacha20poly1305"
    assert Cache(default, encryption_key="mine")["k"] == "v"


def test_a_plain_store_and_a_key_is_an_error_that_names_both_ways_out(
    default: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _cipher() is None
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    with pytest.raises(WrongSecretError, match=r"not encrypted.*unset it.*CACHEMERE_DIR"):
        Cache()["k"]
    monkeypatch.delenv("CACHEMERE_KEY")
    assert Cache()["k"] == "v"


def test_a_function_gives_it(default: Path, tmp_path: Path) -> None:
    asked = []

    def keyring() -> str:
        asked.append(1)
        return SECRET

    assert _cipher(path=tmp_path / "named", encryption_key=keyring) == "xchacha20poly1305"
    assert _cipher(encryption_key=keyring) == "xchacha20poly1305" and len(asked) == 2
    with pytest.raises(InvalidOptionError, match="gave None"):
        Cache(tmp_path / "named", encryption_key=lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(KeyError, match="locked"):
        Cache(tmp_path / "named", encryption_key=_locked)
    cachemere.unlock(tmp_path / "named", keyring)


def _locked() -> str:
    raise KeyError("locked")


def test_it_is_in_no_pickle_no_text_and_no_log(
    default: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    with caplog.at_level(logging.DEBUG):
        cache = Cache()
        cache["k"] = "v"
        pickled = pickle.dumps(cache)
        assert pickle.loads(pickled)["k"] == "v"
    told = [repr(cache), str(vars(cache)), repr(cache._options), caplog.text]
    assert SECRET.encode() not in pickled and not any(SECRET in text for text in told)


def test_handles_work_after_a_fork_and_in_other_processes(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_KEY", SECRET)
    cache = Cache()
    cache["k"] = "v"
    child = os.fork()
    if child == 0:
        os._exit(0 if cache["k"] == "v" else 1)
    assert os.waitpid(child, 0)[1] == 0
    program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())['k'])"
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(cache), capture_output=True, check=True, timeout=60
    )
    assert done.stdout == b"v\n"


def test_a_handle_with_an_argument_goes_by_pickle_in_its_process(default: Path) -> None:
    cache = Cache(encryption_key=SECRET)
    cache["k"] = "v"
    copy = pickle.loads(pickle.dumps(cache))
    cache.close()
    assert copy["k"] == "v"
    _secrets.pop(default, None)
