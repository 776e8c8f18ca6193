"""The board between a runner and its child."""

from __future__ import annotations

import os
import sys
import tempfile
import time

import pytest

from dtf_dask.worker_plugins.runner.progress import THROUGH, ProgressBoard

COUNT = 4000


@pytest.fixture
def board():
    board = ProgressBoard()
    board.reset(10)
    return board


def test_a_test_that_may_run_is_on_the_board(board):
    """What a dead child was doing can be read: position, start, timeout."""
    assert (board.position, board.last, board.limit) == (-1, -1, 10)
    assert board.begin(3, 12.5, 2.0)
    assert (board.position, board.last) == (3, 3)
    assert (board.started, board.timeout_s) == (12.5, 2.0)
    board.idle()
    assert (board.position, board.last) == (-1, 3)
    board.through()
    assert board.position == THROUGH


def test_a_new_batch_knows_nothing_of_the_last(board):
    """A timeout of the last child must not kill the next."""
    board.begin(3, 12.5, 2.0)
    board.reset(5)
    assert (board.position, board.last, board.limit) == (-1, -1, 5)
    assert (board.started, board.timeout_s) == (0.0, 0.0)


def test_what_was_given_back_does_not_begin(board):
    """The limit is obeyed, and lowered only."""
    assert board.revoke(4) == 4
    assert board.revoke(7) == 4
    assert board.begin(3, 0.0, 0.0)
    assert not board.begin(4, 0.0, 0.0)
    assert board.last == 3


def test_the_running_test_is_not_given_back(board):
    """It is run here; so is all before it."""
    board.begin(5, 0.0, 0.0)
    assert board.revoke(2) == 6


def test_a_finished_test_is_not_given_back(board):
    """Between two tests the child stands nowhere, and yet has run some."""
    board.begin(5, 0.0, 0.0)
    board.idle()
    assert board.revoke(2) == 6
    board.through()
    assert board.revoke(0) == 6


def _run_all(board):
    ran = 0
    for position in range(COUNT):
        if not board.begin(position, 0.0, 0.0):
            break
        ran += 1
        board.idle()
    board.through()
    return ran


@pytest.mark.parametrize("asked", [0, 50, 700])
def test_given_back_and_run_is_all_over_a_fork(board, asked):
    """Neither side waits for the other, and of all tests at most one is in doubt.

    It was about to start as the limit fell: the end of the batch tells of it.
    """
    board.reset(COUNT)
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(outlet, str(_run_all(board)).encode())
        os._exit(0)
    while board.last < asked - 20:
        time.sleep(0)
    first_free = board.revoke(asked)
    os.waitpid(pid, 0)
    ran = int(os.read(inlet, 100))
    os.close(inlet)
    os.close(outlet)
    assert first_free >= asked
    assert first_free - 1 <= ran <= first_free + 1


def test_over_a_file_it_reaches_a_new_program():
    """A process that was started, not forked, shares the board by a descriptor."""
    script = (
        "import sys; from dtf_dask.worker_plugins.runner.progress import *;"
        "b = ProgressBoard(int(sys.argv[1])); b.begin(2, 7.0, 1.5)"
    )
    with tempfile.TemporaryFile() as file:
        file.truncate(os.sysconf("SC_PAGESIZE"))
        board = ProgressBoard(file.fileno())
        board.reset(3)
        os.set_inheritable(file.fileno(), True)
        words = [sys.executable, "-P", "-c", script, str(file.fileno())]
        os.waitpid(os.posix_spawn(sys.executable, words, os.environ), 0)
        assert (board.position, board.started, board.timeout_s) == (2, 7.0, 1.5)
