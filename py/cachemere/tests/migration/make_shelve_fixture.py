"""Wrote `shelve-python3.13.db`: run once in the directory `fixtures` with Python 3.13, whose shelves are of SQLite."""

import dbm
import shelve


def main() -> None:
    with shelve.open("shelve-python3.13.db") as shelf:
        shelf["b"] = {"x": (1, None)}
        shelf["é"] = [1]
        shelf["a"] = "text"
    assert dbm.whichdb("shelve-python3.13.db") == "dbm.sqlite3"


if __name__ == "__main__":
    main()
