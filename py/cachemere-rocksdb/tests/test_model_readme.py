"""The examples of hugedict's README, with the import changed. (That of its mapping is in `test_hugedict`.)"""

from __future__ import annotations

import gzip
import time
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path

from cachemere import Parallel
from cachemere.rocksdb import RocksDBDict, RocksDBOptions, rocksdb_load
from in_process import run


def test_load_huge_data_from_files(tmp_path: Path) -> None:
    files = []
    for number in range(4):
        files.append(str(tmp_path / f"{number}.tsv.gz"))
        with gzip.open(files[-1], "wt") as opened:
            opened.writelines(f"Q{n}\tentity {n}\n" for n in range(number, 4000, 4))
    dbpath = str(tmp_path / "db")
    rocksdb_load(
        dbpath,
        RocksDBOptions(create_if_missing=True),
        files,
        {"record_type": {"type": "tabsep", "key": None, "value": None}, "is_sorted": False},
        False,
        True,
    )
    mapping: MutableMapping[str, str] = RocksDBDict(
        path=dbpath,
        options=RocksDBOptions(create_if_missing=False),
        deser_key=partial(str, encoding="utf-8"),
        deser_value=partial(str, encoding="utf-8"),
        ser_value=str.encode,
        readonly=True,
    )
    assert len(mapping) == 4000 and mapping["Q1234"] == "entity 1234"


def test_cache_a_function_when_doing_parallel_processing(tmp_path: Path) -> None:
    pp = Parallel()

    @pp.cache_func(str(tmp_path / "test.db"))
    def heavy_computing(seconds: float) -> float:
        time.sleep(seconds)
        return seconds * 2

    output = pp.map(heavy_computing, [0.05, 0.1, 0.07, 0.03, 0.06], n_processes=3)
    assert output == [0.1, 0.2, 0.14, 0.06, 0.12]


def test_all_names_of_the_model_are_there() -> None:
    told = run(
        """
        from cachemere.rocksdb import (
            CacheDict, ChainedMapping, RocksDBCompressionOptions, RocksDBDict, RocksDBOptions, SqliteDict, fixed_prefix,
            fixed_prefix_alike, rocksdb_build_sst_file, rocksdb_ingest_sst_files, rocksdb_load,
        )
        print("all")
        """,
        "",
    )
    assert told == "all\n"
