"""The version is the same wherever it stands, and the change log knows it."""

from __future__ import annotations

import release
import versions


def test_all_copies_agree() -> None:
    assert set(versions.copies().values()) == {versions.current()}


def test_nothing_else_states_it() -> None:
    for manifest in ("py/cachemere/Cargo.toml", "py/cachemere/pyproject.toml", "py/cachemere-rocksdb/pyproject.toml"):
        assert "\nversion = " not in (versions.ROOT / manifest).read_text(), manifest
    assert 'dynamic = ["version"]' in (versions.ROOT / "py/cachemere/pyproject.toml").read_text()


def test_a_release_dates_what_is_unreleased_and_begins_anew() -> None:
    before = "# Changes\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 (2026-01-02)\n\n- All.\n"
    after = release.dated(before, "0.2.0", "2026-03-04")
    assert after.index("## Unreleased") < after.index("## 0.2.0 (2026-03-04)") < after.index("- A thing.")
    assert release.notes(after, "0.2.0") == "### Added\n\n- A thing."


def test_a_release_with_nothing_to_say_is_refused() -> None:
    for text in ("# Changes\n\n## Unreleased\n\n## 0.1.0 (2026-01-02)\n\n- All.\n", "# Changes\n"):
        try:
            release.dated(text, "0.2.0", "2026-03-04")
        except SystemExit as refused:
            assert "CHANGELOG.md" in str(refused)
        else:
            raise AssertionError("it was not refused")


def test_versions_only_grow() -> None:
    assert release.later("0.2.0", "0.1.9") and release.later("0.10.0", "0.9.0") and not release.later("0.1.0", "0.1.0")
    assert not release.later("0.2", "0.1.0") and not release.later("v0.2.0", "0.1.0")
