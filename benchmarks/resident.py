"""A process's peak of resident memory, as the kernel keeps it: nothing is missed between two looks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.rows import MIB, NotMeasurable

_RESET_PEAK = "5"


def reset_peak(pid: int) -> None:
    """From here on, what is resident now is the peak."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
    except OSError as error:
        raise NotMeasurable(f"this kernel does not tell a process's memory ({error})") from None


def peak_mib(pid: int) -> float:
    """VmHWM, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MIB
    raise NotMeasurable("this kernel does not tell a process's peak of memory")
