"""Values that must not be shown."""

from __future__ import annotations

from palomar.server.builds.masking import Masking


def test_a_value_is_hidden_however_it_is_quoted() -> None:
    masking = Masking({"TOKEN": "p@ss/word"})
    assert masking.hide("https://me:p%40ss%2Fword@host p@ss/word") == "https://me:${TOKEN}@host ${TOKEN}"


def test_the_longer_value_goes_first() -> None:
    assert Masking({"A": "abc", "B": "abcdef"}).hide("abcdef abc") == "${B} ${A}"


def test_every_line_of_a_value_is_hidden() -> None:
    lines: list[str] = []
    Masking({"KEY": "first line\nsecond line"}).hiding(lines.append)("x second line y")
    assert lines == ["x ${KEY} y"]


def test_in_a_lock_addresses_alone_are_searched() -> None:
    text = "numpy==1.26.4\nx @ https://1.26.4@host/\n"
    assert Masking({"V": "1.26.4"}).hide_urls(text) == "numpy==1.26.4\nx @ https://${V}@host/\n"


def test_a_value_of_two_letters_blacks_out_nothing() -> None:
    assert Masking({"FLAG": "on"}).hide("version is wrong") == "version is wrong"
