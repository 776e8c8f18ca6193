"""A manifest admits only what can be written below one folder, whoever sent it."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dtf_dask import snapshot_manifest
from dtf_dask.errors import ProtocolError
from dtf_dask.snapshot_manifest import (
    FILE_BYTES_MAX,
    PATH_BYTES_MAX,
    Manifest,
    SnapshotFile,
    link_refusal,
    path_refusal,
)

EMPTY = hashlib.sha256(b"").hexdigest()

# Few letters and short names, so that files, folders and links often meet.
names = st.text("ab.é\n\udcff", min_size=1, max_size=3)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
targets = st.lists(st.sampled_from(["..", ".", "a", "b", ""]), max_size=5).map("/".join)


@st.composite
def entries(draw: st.DrawFn) -> SnapshotFile:
    path = draw(paths)
    if draw(st.booleans()):
        return SnapshotFile(path, "", 0, link=draw(targets))
    content = draw(st.binary(max_size=3))
    digest = hashlib.sha256(content).hexdigest()
    return SnapshotFile(path, digest, len(content), draw(st.booleans()))


def file(path: str) -> SnapshotFile:
    return SnapshotFile(path, EMPTY, 0)


def link(path: str, target: str) -> SnapshotFile:
    return SnapshotFile(path, "", 0, link=target)


def landing(files: dict[str, SnapshotFile], path: str, target: str) -> list[str] | None:
    """Where following a link ends, as the kernel does it; None above the root."""
    at, pending, steps = path.split("/")[:-1], target.split("/"), 0
    while pending and steps < 100:
        steps += 1
        part = pending.pop(0)
        if part == "..":
            if not at:
                return None
            at.pop()
        elif part != ".":
            met = files.get("/".join([*at, part]))
            if met is not None and met.link is not None:
                pending = met.link.split("/") + pending
            else:
                at.append(part)
    return at


@given(st.lists(entries(), max_size=6))
@example([link("d", "."), link("l", "d/../x")])
@example([link("d/l", "../.."), file("d/f")])
def test_no_link_of_an_accepted_manifest_leads_out(files: list[SnapshotFile]) -> None:
    """Following any link, through any other links, never climbs above the root."""
    try:
        manifest = Manifest(tuple(files))
    except ProtocolError:
        return
    by_path = {file.path: file for file in manifest.files}
    for one in manifest.files:
        if one.link is not None:
            assert landing(by_path, one.path, one.link) is not None


@given(st.lists(entries(), max_size=6))
def test_an_accepted_manifest_survives_the_wire(files: list[SnapshotFile]) -> None:
    """Bytes, digest and files are equal after the wire, whatever the order was."""
    try:
        manifest = Manifest(tuple(files))
    except ProtocolError:
        return
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.digest == manifest.digest == Manifest(tuple(files[::-1])).digest
    assert pickle.loads(pickle.dumps(manifest)) == manifest


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_one_error(encoded: bytes) -> None:
    """Any bytes give a manifest or a ProtocolError, and no other exception."""
    try:
        Manifest.from_bytes(encoded)
    except ProtocolError:
        pass


_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


@given(_plain, _plain)
def test_well_packed_nonsense_is_refused_by_one_error(
    first: object, rest: object
) -> None:
    """The same for bytes that are valid msgpack of a similar form."""
    for tree in (first, [1, b"code", rest], [1, b"code", [rest]], [1, first, []]):
        try:
            Manifest.from_bytes(msgpack.packb(tree))
        except ProtocolError:
            pass


@given(st.data())
def test_a_changed_byte_changes_the_address(data: st.DataObject) -> None:
    """A damaged list is refused, or is another snapshot: never taken for the first."""
    manifest = Manifest((file("a/b"), link("c", "a/b")))
    encoded = bytearray(manifest.to_bytes())
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        assert Manifest.from_bytes(bytes(encoded)).digest != manifest.digest
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "//a",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        "a\\b",
        "..\\a",
        "C:\\a",
        "\ud800",
        "\udcc3\udca9",
        "a" * 256,
        "é" * 128,
        "/".join(["a" * 200] * 11),
        "/".join("a" * 65),
    ],
)
def test_a_bad_path_is_refused_as_file_link_and_name(path: str) -> None:
    """No path that is absolute, climbs, is ambiguous or over a bound."""
    assert path_refusal(path)
    for bad in ((file(path),), (link(path, "a"),)):
        with pytest.raises(ProtocolError, match="no snapshot that dtf accepts"):
            Manifest(bad)
    with pytest.raises(ProtocolError):
        Manifest((), name=path)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", ".."),
        ("l", "../a"),
        ("a/l", "../.."),
        ("a/l", "../../a"),
        ("l", "a/../b"),
        ("a/b/l", "../x/.."),
        ("l", "/etc/passwd"),
        ("l", ""),
        ("l", "./a"),
        ("l", "a/"),
        ("l", "a\0"),
        ("l", "..\\..\\a"),
        ("l", "a" * 300),
        ("a/l", "../" + "b/" * PATH_BYTES_MAX + "c"),
    ],
)
def test_a_link_out_or_unclear_is_refused(path: str, target: str) -> None:
    """A target climbs at most to the root, and never after it has descended."""
    assert link_refusal(path, target)
    with pytest.raises(ProtocolError):
        Manifest((link(path, target),))


@pytest.mark.parametrize(
    "files",
    [
        (file("a"), file("a")),
        (file("a"), link("a", "b")),
        (file("a"), file("a/b")),
        (link("a", "b"), file("a/b")),
        (link("a", "b"), file("a/c/d")),
        (replace(file("a"), size_bytes=-1),),
        (replace(file("a"), size_bytes=FILE_BYTES_MAX + 1),),
        (replace(file("a"), digest="0" * 63),),
        (replace(file("a"), digest=EMPTY.upper()),),
        (replace(file("a"), digest=EMPTY + "\n"),),
        (replace(link("a", "b"), digest=EMPTY),),
        (replace(link("a", "b"), size_bytes=1),),
        (replace(link("a", "b"), executable=True),),
        (file("a"), replace(file("b"), size_bytes=1)),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    files: tuple[SnapshotFile, ...],
) -> None:
    """No path twice, no file below a file or link, no impossible size or digest."""
    with pytest.raises(ProtocolError):
        Manifest(files)


def test_bounds_hold_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count of files, total size and length of the encoding have limits."""
    manifest = Manifest((file("a"), file("b")))
    for bound in ("FILES_MAX", "MANIFEST_BYTES_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(snapshot_manifest, bound, 1)
            with pytest.raises(ProtocolError):
                Manifest((file("a"), file("b")))
            with pytest.raises(ProtocolError):
                Manifest.from_bytes(manifest.to_bytes())
    monkeypatch.setattr(snapshot_manifest, "SNAPSHOT_BYTES_MAX", 5)
    with pytest.raises(ProtocolError, match="5 bytes"):
        Manifest((replace(file("a"), size_bytes=6),))


def test_another_format_is_refused_with_advice() -> None:
    """A list of a later dtf says that the versions differ."""
    with pytest.raises(ProtocolError, match="one version of dtf"):
        Manifest.from_bytes(msgpack.packb([2, b"code", []]))


def test_the_name_of_the_root_is_part_of_the_address() -> None:
    """Where the root is a package, another name is other code."""
    assert Manifest((file("a"),), "x").digest != Manifest((file("a"),), "y").digest
    with pytest.raises(ProtocolError, match="more than one part"):
        Manifest((), name="a/b")
