"""A program that is ended from outside tidies up."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from morphseek_monai.base.terminable import terminable


def test_a_signal_leaves_by_an_exception_and_a_second_one_does_not_disturb() -> None:
    before = signal.getsignal(signal.SIGTERM)
    tidied = []
    with pytest.raises(SystemExit) as stop, terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause() if hasattr(signal, "pause") else None
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            tidied.append("up")
    assert stop.value.code == 143 and tidied == ["up"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_it_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with terminable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
