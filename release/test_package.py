"""What is published on crates.io: the sources, what documents them, and nothing of Python's."""

from __future__ import annotations

import re
import subprocess

import versions

#: The documents that the sources and the README lead to.
DOCUMENTS = {"docs/FORMAT.md", "docs/PROMISES.md", "docs/SECURITY.md", "CHANGELOG.md", "README.md"}
#: What Cargo adds.
CARGOS = {"Cargo.toml", "Cargo.toml.orig", "Cargo.lock", ".cargo_vcs_info.json"}
LICENCES = {"LICENSE-APACHE", "LICENSE-MIT"}


def packaged(crate: str) -> set[str]:
    """Returns the files that would be published."""
    listing = ["cargo", "package", "--list", "--allow-dirty", "--offline", "--package", crate]
    return set(
        subprocess.run(listing, cwd=versions.ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    ) - {""}


def sources(*places: str) -> set[str]:
    """Returns the Rust files below some places."""
    return {str(path.relative_to(versions.ROOT)) for place in places for path in (versions.ROOT / place).rglob("*.rs")}


def test_the_crate_has_its_sources_examples_and_documents_and_nothing_else() -> None:
    # An examples crate of its own has its own dependencies, and is not a part.
    examples = {str(path.relative_to(versions.ROOT)) for path in (versions.ROOT / "examples").glob("*.rs")}
    assert packaged("cachemere") - CARGOS == sources("src") | examples | DOCUMENTS | LICENCES


def test_the_macros_have_their_sources_and_nothing_else() -> None:
    own = {path.removeprefix("macros/") for path in sources("macros/src")}
    assert packaged("cachemere-macros") - CARGOS == own | LICENCES


def test_the_licences_of_the_macros_are_those_of_the_crate() -> None:
    for licence in LICENCES:
        assert (versions.ROOT / "macros" / licence).read_bytes() == (versions.ROOT / licence).read_bytes()


def test_docs_rs_builds_with_all_features_but_those_that_are_not_for_it() -> None:
    manifest = (versions.ROOT / "Cargo.toml").read_text()
    features = set(
        re.findall(r"^(\w[\w-]*) = \[", manifest.partition("\n[features]\n")[2].partition("\n[")[0], re.MULTILINE)
    )
    shown = re.search(r"\[package\.metadata\.docs\.rs\]\nfeatures = \[(.*)\]", manifest)
    assert shown is not None
    assert set(re.findall(r'"(.*?)"', shown[1])) == features - {"default", "zstd", "rocksdb", "fault-injection"}
