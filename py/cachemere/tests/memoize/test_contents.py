"""Objects of large libraries are told apart by what they hold, where these libraries are installed."""

from __future__ import annotations

import time
from typing import Any

import numpy
import pandas
import polars
import pyarrow as arrow
import pytest
from cachemere._memo.canonical import Formless, form
from PIL import Image as images


def assert_told_apart(different: list[Any], same: list[tuple[Any, Any]]) -> None:
    for typed in (False, True):
        forms = [form(it, typed) for it in different]
        assert len(set(forms)) == len(forms), forms
        assert forms == [form(it, typed) for it in different]
        for one, other in same:
            assert form([one], typed) == form([other], typed)


def test_frames_and_series_of_pandas() -> None:
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    times = pandas.date_range("2024-01-01", periods=3)
    different = [
        frame, frame.rename(columns={"a": "c"}), frame.astype({"a": float}), frame.set_index("a"), frame.iloc[:2],
        frame.assign(b=["x", "yz", None]), frame.assign(b=["xy", "z", None]), frame.assign(b=["x", "y", ""]),
        frame.assign(b=pandas.Categorical(["x", "y", None])), frame.assign(b=[1, "y", None]), frame[["b", "a"]],
        frame.assign(b=pandas.Categorical(["x", "y", None], ordered=True)), frame.assign(b=times), frame["a"],
        frame.assign(b=times.tz_localize("Europe/Paris")), frame["a"].rename("z"), frame["a"].iloc[::-1], frame.index,
        frame.assign(b=pandas.array([1, None, 3], dtype="Int64")),
        frame.assign(b=pandas.array([1, 0, 3], dtype="Int64")),
        frame.set_index(["a", "b"]), pandas.Index([1, 2]), pandas.Timestamp("2024-01-01"), pandas.Timedelta(1, "D"),
        pandas.Timestamp("2024-01-01", tz="UTC"), pandas.NA, pandas.NaT, times, frame.T,
        frame.assign(b=[(1,), {"a": 1}, None]),
    ]  # fmt: skip
    assert_told_apart(different, [(frame, frame.copy()), (frame.iloc[::2], frame[frame.a != 2])])
    with pytest.raises(Formless):
        form(frame.assign(b=[object()] * 3), False)


def test_frames_and_series_of_polars() -> None:
    frame = polars.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    different = [
        frame, frame.rename({"a": "c"}), frame.cast({"a": float}), frame.head(2), frame.select("b", "a"),
        frame.with_columns(b=polars.lit("x")), frame["a"], frame["a"].rename("z"), frame["a"].reverse(),
    ]  # fmt: skip
    assert_told_apart(different, [(frame, frame.clone())])
    with pytest.raises(Formless):
        form(polars.Series([object()]), False)


def test_tables_of_arrow() -> None:
    table = arrow.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    assert_told_apart([table, table.rename_columns(["c", "b"]), table.slice(0, 2)], [(table, table.select(["a", "b"]))])


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0)
    different = [
        tensor, tensor.double(), tensor.bfloat16(), tensor.reshape(2, 3), tensor + 1, tensor.clone().requires_grad_(),
        torch.nn.Parameter(tensor.clone()), torch.float32, torch.device("cpu"), torch.tensor(1), torch.tensor(True),
    ]  # fmt: skip
    assert_told_apart(different, [(tensor, tensor.clone()), (tensor[::2], torch.tensor([0.0, 2.0, 4.0]))])


def test_images() -> None:
    image = images.new("RGB", (4, 4), "red")
    noted = image.copy()
    noted.info["dpi"] = (72, 72)
    different = [
        image, images.new("RGB", (4, 4), "blue"), images.new("RGB", (2, 8), "red"), image.convert("L"),
        image.convert("P"), image.convert("RGBA"), noted,
    ]  # fmt: skip
    assert_told_apart(different, [(image, image.copy())])


def test_200_megabytes_take_less_than_a_second() -> None:
    many = numpy.random.default_rng(1).integers(0, 255, 200 << 20, dtype="u1")
    given: list[Any] = [many, many.view("f8")]
    given.append(pandas.DataFrame({"a": many[: 100 << 20].view("i8"), "b": many[100 << 20 :].view("i8")}))
    for it in given:
        began = time.perf_counter()
        form(it, False)
        assert time.perf_counter() - began < 1.5, "twice what it takes on a quiet machine"
