"""Log lines of long commands on stderr."""

from __future__ import annotations

import logging

import pytest

from morphseek_monai.base.progress import progress


def test_lines_go_to_stderr_within_the_context_only(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("morphseek")
    level, handlers = logger.level, list(logger.handlers)
    with progress("[2] "):
        logger.info("pair %d", 7)
        logging.getLogger("another").info("not ours")
    logger.info("after")
    shown = capsys.readouterr()
    assert shown.err == "[2] pair 7\n" and shown.out == ""
    assert logger.level == level and logger.handlers == handlers


def test_handler_goes_with_an_error_too() -> None:
    with pytest.raises(KeyError), progress():
        raise KeyError
    assert not logging.getLogger("morphseek").handlers
