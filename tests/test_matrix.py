"""The points of a matrix: dtf_dask.runs.matrix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtf_dask.runs.matrix import (
    POINTS_MAX,
    MatrixError,
    expand,
    point_name,
    substitute,
)


def test_points_come_in_the_order_in_which_they_were_written():
    """The last axis turns fastest, and no set decides an order."""
    points = expand({"model": ["b", "a"], "batch": [4, 1]})
    assert [point_name("bench", point) for point in points] == [
        "bench[model=b,batch=4]",
        "bench[model=b,batch=1]",
        "bench[model=a,batch=4]",
        "bench[model=a,batch=1]",
    ]


def test_an_exclusion_takes_every_point_that_agrees_with_it():
    """One that names some axes takes the whole line; True is not 1."""
    matrix = {"model": ["a", "b"], "batch": [1, 2], "fast": [True, False]}
    points = expand(matrix, [{"model": "b", "batch": 2}, {"fast": True}])
    assert [tuple(point.values()) for point in points] == [
        ("a", 1, False),
        ("a", 2, False),
        ("b", 1, False),
    ]
    assert expand({"x": [1, True]}, [{"x": True}]) == ({"x": 1},)


@pytest.mark.parametrize(
    ("matrix", "exclude", "words"),
    [
        ({}, (), "matrix: holds no axis"),
        ({"a b": [1]}, (), "letters, digits"),
        ({"a": []}, (), "matrix.a: expected a list"),
        ({"a": "text"}, (), "matrix.a: expected a list"),
        ({"a": [{}]}, (), "text, numbers or booleans"),
        ({"a": ["x\n"]}, (), "printable"),
        ({"a": ["x::y"]}, (), "without '::'"),
        ({"a": [1, "1"]}, (), "holds '1' twice"),
        ({"a": [1]}, [{"b": 1}], "exclude[0]: unknown axis 'b'"),
        ({"model": [1]}, [{"modle": 1}], "did you mean 'model'"),
        ({"a": ["one"]}, [{"a": "on"}], "a is never 'on'; did you mean 'one'"),
        ({"a": [1]}, [{}], "exclude[0]: expected a table"),
        ({"a": [1]}, {"a": 1}, "exclude: expected a list"),
        ({"a": [1]}, [{"a": 1}], "no combination"),
        ({"a": list(range(1001))}, (), "1001 values are over"),
        ({axis: list(range(100)) for axis in "abcd"}, (), f"limit of {POINTS_MAX}"),
        ({f"a{i}": [1] for i in range(17)}, (), "17 axes are over 16"),
    ],
)
def test_a_matrix_that_makes_no_sense_is_refused(matrix, exclude, words):
    """The error names the key, and bounds hold before anything is multiplied out."""
    with pytest.raises(MatrixError) as caught:
        expand(matrix, exclude)
    assert words in str(caught.value)


def test_placeholders():
    """{axis} is replaced, {{axis}} is not, other braces are left, a typo is named."""
    point = {"model": "a", "n": 4, "fast": True}
    assert substitute("{model}-{n}-{fast}", point) == "a-4-true"
    assert substitute('{{model}} {} {"k": {n}}', point) == '{model} {} {"k": 4}'
    assert substitute("{anything}", {}) == "{anything}"
    with pytest.raises(MatrixError, match="did you mean 'model'"):
        substitute("{modle}", point)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}", fullmatch=True),
        st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True),
        min_size=1,
        max_size=4,
    )
)
def test_points_are_as_many_as_the_product_and_all_different(matrix):
    """No point is lost or made twice, and their names tell them apart."""
    points = expand(matrix)
    count = 1
    for values in matrix.values():
        count *= len(values)
    assert len({point_name("x", point) for point in points}) == len(points) == count
