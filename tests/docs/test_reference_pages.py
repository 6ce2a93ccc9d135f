"""The reference pages say what the code says, and leave nothing out."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from palomar.contract.actions import Action, Scope
from palomar.contract.errors import catalogue
from palomar.contract.names import RESERVED_NAMESPACES, Scheme
from palomar.server.settings import Settings
from tools import reference
from tools.files import ROOT

PAGES = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def first_cells(text: str) -> set[str]:
    """The code in the first cell of each table row."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_no_page_is_stale():
    assert reference.stale() == []


def test_every_setting_is_documented_and_no_other():
    assert first_cells(page("settings.md")) == {f"PALOMAR_{name.upper()}" for name in Settings.model_fields}


def test_every_error_is_documented_and_no_other():
    assert first_cells(page("errors.md")) == set(catalogue())


def test_every_field_of_an_error_is_documented():
    rows = {row.split("`")[1]: row for row in page("errors.md").splitlines() if row.startswith("| `")}
    for code, cls in catalogue().items():
        for field in fields(cls):
            assert f"`{field.name}`" in rows[code]


def test_every_scope_and_action_is_documented_and_no_other():
    assert first_cells(page("scopes.md")) == {*Scope, *Action}


def test_every_scope_has_words():
    text = page("scopes.md")
    assert all(scope.label in text for scope in Scope)


def test_every_reserved_name_and_scheme_is_documented():
    text = page("names.md")
    assert all(f"`{name}`" in text for name in RESERVED_NAMESPACES)
    assert all(f"`{scheme.value}://`" in text for scheme in Scheme)


def test_secrets_show_no_default():
    for row in page("settings.md").splitlines():
        if "| secret |" in row:
            assert row.split(" | ")[2] == "none"


def test_a_changed_page_is_stale(tmp_path: Path):
    reference.write(tmp_path)
    assert reference.stale(tmp_path) == []
    changed = tmp_path / "errors.md"
    changed.write_text(changed.read_text(encoding="utf-8").replace("`busy`", "`lazy`"), encoding="utf-8")
    (tmp_path / "names.md").unlink()
    assert reference.stale(tmp_path) == ["errors.md", "names.md"]


def test_prose_names_no_setting_that_does_not_exist():
    known = {f"PALOMAR_{name.upper()}" for name in Settings.model_fields} | {"PALOMAR_TEST_POSTGRES"}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"\bPALOMAR_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named <= known, path.name


def test_prose_names_no_error_code_that_does_not_exist():
    """Codes in JSON examples and in prose of the protocol pages."""
    for path in (ROOT / "docs" / "protocols").glob("*.md"):
        codes = re.findall(r'"code": "([a-z-]+)"', path.read_text(encoding="utf-8"))
        assert set(codes) <= set(catalogue()), path.name
