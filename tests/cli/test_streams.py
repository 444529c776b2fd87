"""Closed, full and dead outputs, and terminals of few letters: a command goes on, its exit code says what was lost."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from test_layers import ROOT

from lstn_search.cli.streams import Lines, _plain, settle_streams
from lstn_search.watch.console import PlainConsole

COMMAND = f"{sys.executable} {ROOT / 'cli.py'} cost --arch light"


def shell(words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", words], capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT
    )


def test_what_nobody_reads_is_dropped_and_no_failure() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    lines = Lines(write_end, "w")
    assert [lines.write(b"one\n"), lines.write(b"another\n")] == [4, 8]
    assert lines.failed is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_what_finds_no_room_is_dropped_and_remembered() -> None:
    lines = Lines(os.open("/dev/full", os.O_WRONLY), "w")
    assert [lines.write(b"one\n"), lines.write(b"another\n")] == [4, 8]
    assert lines.failed is not None and lines.failed.strerror == "No space left on device"


def test_few_letters_are_enough() -> None:
    settle_streams()  # registers how
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding="ascii", errors="plain") as stream:
        stream.write("1 – 2 … 3 × 4: café, 猫")
        stream.flush()
        assert written.getvalue() == rb"1 - 2 ... 3 x 4: caf\xe9, \u732b"
    assert _plain(UnicodeEncodeError("ascii", "±é", 0, 1, "")) == ("+-", 1)


def test_a_table_on_a_narrow_terminal_keeps_its_numbers() -> None:
    table = Table(*("a long heading",) * 4)
    table.add_row(*("123456789",) * 4)
    console = PlainConsole(file=io.StringIO(), width=40, force_terminal=True)
    console.print(table)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue().count("123456789") == 4
    assert console.width == 40


def test_the_command_line_with_every_stream_closed() -> None:
    run = shell(f"{COMMAND} <&- >&- 2>&-; echo $?")
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_the_command_line_on_a_full_disk_says_so() -> None:
    run = shell(f"{COMMAND} > /dev/full")
    assert run.returncode == 2
    assert run.stderr == "error: standard output cannot be written (No space left on device); make room or access\n"


def test_the_command_line_with_a_reader_that_has_gone_and_an_ascii_terminal() -> None:
    run = shell(f"({COMMAND} | true; echo ${{PIPESTATUS[0]}}); {COMMAND}", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.isascii() and run.stdout.startswith("0\n")
