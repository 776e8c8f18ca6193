"""Every way in which pytest lets a test end."""

# ruff: noqa: PT009 (how unittest does it is the point)

from __future__ import annotations

import asyncio
import logging
import unittest
import warnings
from collections.abc import Iterator

import pytest


def test_passes(record_property):
    record_property("answer", 42)


def test_fails():
    assert [1, 2, 3] == [1, 2, 4]


@pytest.mark.skip(reason="marked")
def test_skip_mark():
    raise AssertionError


@pytest.mark.skipif("sys.platform != 'nowhere'", reason="a condition as text")
def test_skip_condition():
    raise AssertionError


def test_skip_inside():
    pytest.skip("from within")


def test_importorskip():
    pytest.importorskip("no_such_module_at_all")


@pytest.fixture
def skipping():
    pytest.skip("in a fixture")


def test_skip_in_fixture(skipping):
    raise AssertionError


@pytest.fixture
def skipping_late() -> Iterator[None]:
    yield
    pytest.skip("in teardown")


def test_skip_in_teardown(skipping_late):
    assert True


@pytest.mark.xfail(reason="known")
def test_xfail():
    raise AssertionError


@pytest.mark.xfail(reason="mended")
def test_xpass():
    assert True


@pytest.mark.xfail(strict=True, reason="mended, strictly")
def test_xpass_strict():
    assert True


@pytest.mark.xfail(raises=ValueError)
def test_xfail_other_error():
    raise KeyError("another")


@pytest.mark.xfail(run=False, reason="would crash")
def test_xfail_not_run():
    raise AssertionError


def test_xfail_inside():
    pytest.xfail("from within")


@pytest.fixture
def bad_setup():
    raise ValueError("setup")


def test_setup_error(bad_setup):
    raise AssertionError


@pytest.mark.xfail
def test_xfail_setup_error(bad_setup):
    raise AssertionError


@pytest.fixture
def bad_teardown() -> Iterator[None]:
    yield
    raise ValueError("teardown")


def test_teardown_error(bad_teardown):
    assert True


def test_failure_and_teardown_error(bad_teardown):
    raise AssertionError("both")


@pytest.fixture(scope="module")
def bad_module_setup():
    raise ValueError("module setup")


@pytest.mark.parametrize("number", range(3))
def test_module_setup_error(bad_module_setup, number):
    raise AssertionError


def test_fixture_unknown(there_is_no_such_fixture):
    raise AssertionError


@pytest.fixture(params=["one", "two"])
def chosen(request):
    return request.param


def test_parametrised_fixture(chosen):
    assert chosen == "one"


def test_fail_without_trace():
    pytest.fail("only words", pytrace=False)


def test_warns():
    warnings.warn("as a user does", UserWarning, stacklevel=1)


def test_warns_in_thread_of_loop():
    asyncio.run(asyncio.sleep(0))


def test_raises():
    with pytest.raises(ZeroDivisionError):
        _ = 1 / 0


def test_output_captured(capsys):
    print("seen")
    assert capsys.readouterr().out == "seen\n"


def test_log_captured(caplog):
    logging.getLogger("nasty").warning("seen")
    assert caplog.messages == ["seen"]


def test_subtests(subtests):
    for number in range(4):
        with subtests.test("numbers", number=number):
            assert number != 2


def test_subtests_all_pass(subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number >= 0


def test_returns_something():
    return None


class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = 1

    def test_passes(self):
        self.assertEqual(self.shared, 1)

    def test_fails(self):
        self.assertEqual(self.shared, 2)

    def test_skips(self):
        self.skipTest("by itself")

    @unittest.skip("by mark")
    def test_skip_mark(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.fail("as expected")

    @unittest.expectedFailure
    def test_unexpected_success(self):
        pass

    def test_subtest(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)


class TestUnitBadClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("class setup")

    def test_one(self):
        raise AssertionError

    def test_two(self):
        raise AssertionError


class TestUnitCleanup(unittest.TestCase):
    def test_cleanup_fails(self):
        self.addCleanup(self.fail, "in cleanup")

    def tearDown(self):
        self.addCleanup(lambda: None)


class TestUnitAsync(unittest.IsolatedAsyncioTestCase):
    async def test_passes(self):
        await asyncio.sleep(0)

    async def test_fails(self):
        raise ValueError("awaited")


class TestPlain:
    state = 0

    def setup_method(self):
        type(self).state += 1

    def test_one(self):
        assert self.state

    def test_two(self):
        assert self.state


def documented(number):
    """Double a number.

    >>> documented(2)
    4
    >>> documented(3)
    6
    """
    return number * 2


def documented_wrongly(number):
    """
    >>> documented_wrongly(2)
    5
    """
    return number * 2
