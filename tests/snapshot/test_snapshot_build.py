"""Which files of a folder become its snapshot, and how they are read. Real git."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dtf_dask.errors import SnapshotError, SnapshotTooLargeError
from dtf_dask.runs import stable_read
from dtf_dask.runs.snapshot import Snapshot, build
from dtf_dask.runs.snapshot_size import largest

LONG_AGO = 1_500_000_000


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(
        ["git", *identity, "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def write(root: Path, *paths: str, content: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def take(
    root: Path,
    *,
    limit_bytes: int = 10**9,
    file_limit_bytes: int = 10**9,
    files_limit: int = 10**5,
    cache_path: Path | None = None,
    also: Iterable[str | Path] = (),
) -> Snapshot:
    return build(
        root,
        limit_bytes=limit_bytes,
        file_limit_bytes=file_limit_bytes,
        files_limit=files_limit,
        cache_path=cache_path,
        also=also,
    )


def sent(snapshot: Snapshot, digest: str, message_bytes: int) -> Iterator[bytes]:
    """One content, as it is sent."""
    for message in snapshot.parts([digest], message_bytes):
        yield from (part.chunk for part in message)


def paths(snapshot: Snapshot) -> list[str]:
    return [file.path for file in snapshot.manifest.files]


@pytest.fixture(autouse=True)
def _no_repository_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(root: Path) -> Path:
    git(root, "init", "-q")
    return root


def test_git_chooses_tracked_and_untracked_but_not_ignored(repository: Path) -> None:
    """Tracked (ignored or not), untracked; not ignored, deleted, nor an old name."""
    write(repository, "kept.py", "gone.py", "old.py", "out/forced.txt")
    write(repository, ".gitignore", content="*.log\nout/\n")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-qm", "x")
    (repository / "gone.py").unlink()
    git(repository, "mv", "old.py", "new.py")
    write(repository, "fresh.py", "noise.log", "out/made.txt", "sub/fresh.py")
    snapshot = take(repository)
    assert snapshot.source == "git"
    assert paths(snapshot) == [
        ".gitignore",
        "fresh.py",
        "kept.py",
        "new.py",
        "out/forced.txt",
        "sub/fresh.py",
    ]


def test_below_a_folder_of_the_work_tree_only_that_folder_is_taken(
    repository: Path,
) -> None:
    """Paths are relative to the root given, not to the repository's."""
    write(repository, "above.py", "part/in.py", "part/deep/in.py")
    git(repository, "add", "above.py", "part/in.py")
    assert paths(take(repository / "part")) == ["deep/in.py", "in.py"]


def test_names_that_no_one_expects(repository: Path) -> None:
    """Non-ASCII, newline, quote, leading dash and bytes that are no UTF-8 travel."""
    names = ["é ü.py", "new\nline.py", 'quo"te.py', "-dash.py", "bad\udcff.py"]
    write(repository, *names)
    git(repository, "add", "--", *names[:2])
    assert paths(take(repository)) == sorted(names)


def test_a_backslash_in_a_name_is_left_out_and_named(repository: Path) -> None:
    """What a manifest would refuse does not end the run; the user is told."""
    write(repository, "a.py", "b\\c.py")
    snapshot = take(repository)
    assert paths(snapshot) == ["a.py"]
    assert snapshot.notes == (
        "Left out of the code snapshot: 'b\\\\c.py' holds a backslash.",
    )


def test_executable_bits_and_links_within_the_root(repository: Path) -> None:
    """The owner's bit; links as links, absolute and winding ones made plain."""
    write(repository, "run.sh", "real/deep/f.py")
    (repository / "run.sh").chmod(0o755)
    (repository / "real/up").symlink_to("../run.sh")
    (repository / "real/absolute").symlink_to(repository / "run.sh")
    (repository / "winding").symlink_to("real/deep/../deep/f.py")
    (repository / "folder").symlink_to("real")
    (repository / "dangling").symlink_to("nowhere")
    files = {file.path: file for file in take(repository).manifest.files}
    assert {path: file.link for path, file in files.items() if file.link} == {
        "real/up": "../run.sh",
        "real/absolute": "../run.sh",
        "winding": "real/deep/f.py",
        "folder": "real",
        "dangling": "nowhere",
    }
    assert [path for path, file in files.items() if file.executable] == ["run.sh"]


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "sub/../../secret"])
def test_a_link_out_of_the_root_is_left_out_and_named(
    repository: Path, target: str
) -> None:
    """What lies outside is not sent, and nothing on a worker points outside."""
    write(repository.parent, "secret")
    write(repository, "a.py", "sub/b.py")
    (repository / "out").symlink_to(target)
    snapshot = take(repository)
    assert paths(snapshot) == ["a.py", "sub/b.py"]
    assert "'out' is a link that points outside the snapshot" in snapshot.notes[0]


def test_a_tracked_folder_that_became_a_link(repository: Path) -> None:
    """What git still lists below it is not read through the link."""
    write(repository.parent, "elsewhere/f.py")
    write(repository, "pack/f.py", "other/f.py")
    git(repository, "add", ".")
    shutil.rmtree(repository / "pack")
    (repository / "pack").symlink_to("../elsewhere")
    shutil.rmtree(repository / "other")
    (repository / "other").symlink_to("README")
    assert [(f.path, f.link) for f in take(repository).manifest.files] == [
        ("other", "README")
    ]


def test_submodules_and_nested_clones_are_taken(repository: Path) -> None:
    """Their tracked and untracked files, with their own .gitignore; no .git."""
    library = repository.parent / "library"
    write(library, "lib.py")
    write(library, ".gitignore", content="*.log")
    git(library, "init", "-q")
    git(library, "add", ".")
    git(library, "commit", "-qm", "x")
    git(repository, "submodule", "add", "-q", str(library), "vendor/library")
    git(repository, "clone", "-q", str(library), "clone")
    write(repository, "vendor/library/new.py", "vendor/library/a.log", "clone/b.log")
    assert paths(take(repository)) == [
        ".gitmodules",
        "clone/.gitignore",
        "clone/lib.py",
        "vendor/library/.gitignore",
        "vendor/library/lib.py",
        "vendor/library/new.py",
    ]


def test_an_empty_repository_is_an_empty_snapshot(repository: Path) -> None:
    """Nothing to send is no error here: whether there are tests, pytest tells."""
    assert take(repository).manifest.files == ()


def test_a_folder_that_an_outer_repository_ignores(repository: Path) -> None:
    """Git lists nothing there, and the folder is walked instead."""
    write(repository, ".gitignore", content="*")
    write(repository, "scratch/test_a.py")
    snapshot = take(repository / "scratch")
    assert (snapshot.source, paths(snapshot)) == ("folder", ["test_a.py"])


def test_a_hook_s_variables_do_not_lead_git_astray(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within `git commit` the variables of that repository are set."""
    write(repository, "a.py")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert (take(repository).source, paths(take(repository))) == ("git", ["a.py"])


TOOLS = [".git/x", "__pycache__/x", "node_modules/x", ".dtf/x", ".tox/x", "a/.nox/x"]
ENVIRONMENTS = ["env/pyvenv.cfg", "env/lib/x.py", "conda/conda-meta/history", "conda/x"]


def test_outside_of_git_tools_folders_and_environments_stay(root: Path) -> None:
    """Everything else is taken, hidden files included."""
    write(root, "a.py", "b/.hidden", "b/data.bin", *TOOLS, *ENVIRONMENTS)
    shutil.rmtree(root / ".git")
    snapshot = take(root)
    assert (snapshot.source, snapshot.notes) == ("folder", ())
    assert paths(snapshot) == ["a.py", "b/.hidden", "b/data.bin"]


def test_untracked_environments_stay_without_a_gitignore(repository: Path) -> None:
    """What nobody ignored but a tool made is only taken when git tracks it."""
    write(repository, "a.py", *TOOLS[1:], *ENVIRONMENTS)
    git(repository, "add", "node_modules")
    assert paths(take(repository)) == ["a.py", "node_modules/x"]


def test_ignored_files_that_are_needed(repository: Path) -> None:
    """`also` adds files below the root; not from outside nor from environments."""
    write(repository, ".gitignore", content="_version.py\nvenv\n")
    write(repository, "pkg/_version.py", "venv/pyvenv.cfg", "venv/lib/m.py")
    write(repository.parent, "outside.py")
    also = [
        "pkg/_version.py",
        repository / "pkg" / "_version.py",
        repository / "venv/lib/m.py",
        "../outside.py",
        repository.parent / "outside.py",
        "missing.py",
    ]
    assert paths(take(repository, also=also)) == [".gitignore", "pkg/_version.py"]


def test_without_git_on_the_path_the_folder_is_walked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ignored files come along then, and the user is told why."""
    write(repository, ".gitignore", content="*.log")
    write(repository, "a.py", "a.log")
    monkeypatch.setenv("PATH", os.devnull)
    snapshot = take(repository)
    assert paths(snapshot) == [".gitignore", "a.log", "a.py"]
    assert "git is not installed" in snapshot.notes[0]


def test_a_broken_repository_is_walked_and_said(root: Path) -> None:
    """Git's own words reach the user."""
    write(root, ".git", content="gitdir: /nowhere")
    write(root, "a.py")
    snapshot = take(root)
    assert "a.py" in paths(snapshot)
    assert "fatal: not a git repository" in snapshot.notes[0]


def test_special_files_are_left_out_and_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe is never opened, which would wait for ever."""
    write(root, "a.py")
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        snapshot = take(root)
    assert paths(snapshot) == ["a.py"]
    assert "'pipe' is a named pipe; 'sock' is a socket" in snapshot.notes[0]


def test_the_limits_name_what_is_large_and_what_to_do(root: Path) -> None:
    """Total, one file, count: each names its key, the sizes and .gitignore."""
    write(root, "data/raw/big.bin", content="b" * 5_000)
    write(root, *(f"m{n}.py" for n in range(9)))
    with pytest.raises(SnapshotTooLargeError) as total:
        take(root, limit_bytes=4_096)
    assert "4.9 KiB in 10 files (limit: dtf.snapshot.limit, 4.0 KiB)" in str(
        total.value
    )
    assert "'data/raw/big.bin'" in str(total.value)
    assert ".gitignore" in str(total.value)
    with pytest.raises(
        SnapshotTooLargeError, match=r"dtf\.snapshot\.file-limit"
    ) as one:
        take(root, file_limit_bytes=4_999)
    assert "m1.py" not in str(one.value)
    with pytest.raises(SnapshotTooLargeError, match=r"files-limit, 9 files"):
        take(root, files_limit=9)
    assert len(take(root, files_limit=10, limit_bytes=5_009).manifest.files) == 10


def test_the_largest_are_five_and_none_holds_another() -> None:
    """A folder is opened where one child is nearly all of it, and only there."""
    sizes = {f"even/{n}": 100 for n in range(9)} | {"a/b/c": 500, "a/d": 1, "e": 7}
    assert largest(sizes) == [("even/", 900), ("a/b/c", 500), ("e", 7), ("a/d", 1)]
    assert len(largest({str(n): n for n in range(50)})) == 5
    assert largest({}) == []


BUILD_AS_NOBODY = """
import os, sys, tempfile
from pathlib import Path
from dtf_dask.runs.snapshot import build
if os.getuid() == 0:  # to root no rights are missing
    os.setuid(65534)
with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    root.joinpath("folder").mkdir()
    for path in ("a.py", "secret.py", "folder/b.py"):
        root.joinpath(path).write_text("x")
    root.joinpath(sys.argv[1]).chmod(0)
    try:
        build(root, limit_bytes=9, file_limit_bytes=9, files_limit=9)
    except Exception as error:
        print(type(error).__name__, error)
    root.joinpath(sys.argv[1]).chmod(0o700)
"""


@pytest.mark.parametrize("locked", ["secret.py", "folder"])
def test_what_cannot_be_read_is_named(locked: str) -> None:
    """A file or a folder without rights is an error with its name and what to do."""
    said = subprocess.run(
        [sys.executable, "-c", BUILD_AS_NOBODY, locked],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("SnapshotError")
    assert locked in said
    assert "Permission denied" in said
    assert ".gitignore" in said


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    """A clear error rather than an empty snapshot."""
    with pytest.raises(SnapshotError, match="is no folder"):
        take(tmp_path / "nowhere")


def test_content_is_read_in_pieces_and_in_messages(root: Path) -> None:
    """Pieces join to the content; small contents share messages; empty ones count."""
    write(root, "empty", content="")
    write(root, "long", content="0123456789")
    write(root, "a", content="aaa")
    write(root, "b", content="bbb")
    write(root, "same", content="aaa")
    snapshot = take(root)
    digest = {file.path: file.digest for file in snapshot.manifest.files}
    assert list(sent(snapshot, digest["long"], 4)) == [b"0123", b"4567", b"89"]
    assert list(sent(snapshot, digest["empty"], 4)) == [b""]
    messages = list(snapshot.parts(snapshot.manifest.contents(), 8))
    joined: dict[str, bytes] = {}
    for part in (part for message in messages for part in message):
        assert part.offset == len(joined.get(part.digest, b""))
        joined[part.digest] = joined.get(part.digest, b"") + part.chunk
    assert sorted(joined.values()) == [b"", b"0123456789", b"aaa", b"bbb"]
    assert all(sum(len(part.chunk) for part in m) <= 8 for m in messages)
    assert len(messages) == 3
    with pytest.raises(SnapshotError, match="no content"):
        list(sent(snapshot, "0" * 64, 4))


def test_a_file_that_changed_is_not_sent_as_what_it_was(root: Path) -> None:
    """Same length or another, gone or a link now: an error with the file's name."""
    write(root, "a.py", content="one")
    snapshot = take(root)
    digest = snapshot.manifest.files[0].digest
    for change in ("two", "longer"):
        write(root, "a.py", content=change)
        with pytest.raises(SnapshotError, match=r"'a\.py' has changed since the run"):
            list(sent(snapshot, digest, 2))
    write(root, "other", content="one")
    (root / "a.py").unlink()
    (root / "a.py").symlink_to("other")
    with pytest.raises(SnapshotError):
        list(sent(snapshot, digest, 2))


def test_a_copy_of_a_changed_file_serves_as_well(root: Path) -> None:
    """Any file of the snapshot with this content will do."""
    write(root, "a.py", "b.py", content="one")
    snapshot = take(root)
    write(root, "a.py", content="two")
    chunks = sent(snapshot, snapshot.manifest.files[0].digest, 10)
    assert list(chunks) == [b"one"]


def test_a_large_file_that_changed_is_never_sent_whole(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last piece is kept back, so that no receiver can take it for complete."""
    monkeypatch.setattr(stable_read, "WHOLE_BYTES_MAX", 3)
    write(root, "a.bin", content="0123456789")
    snapshot = take(root)
    digest = snapshot.manifest.files[0].digest
    assert list(sent(snapshot, digest, 4)) == [b"0123", b"4567", b"89"]
    write(root, "a.bin", content="012345678X")
    chunks = sent(snapshot, digest, 4)
    assert next(chunks) == b"0123"
    with pytest.raises(SnapshotError, match="has changed"):
        next(chunks)


@pytest.mark.parametrize("change", ["time", "longer", "shorter"])
def test_a_file_that_never_stops_changing_is_given_up(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A bounded number of attempts, then an error that names the file."""
    log = root / "busy.log"
    write(root, "busy.log", content="x" * 100)
    numbers = count(1)
    read = os.read

    def written_meanwhile(handle: int, size: int) -> bytes:
        chunk = read(handle, size)
        number = next(numbers)
        if change == "longer":
            log.write_text("x" * (100 + number))
        elif change == "shorter":
            os.truncate(log, 100 - number)
        else:
            os.utime(log, ns=(number, number))
        return chunk

    monkeypatch.setattr(os, "read", written_meanwhile)
    try:
        with pytest.raises(SnapshotError, match=r"'busy\.log' changed each of the 5"):
            take(root)
    finally:
        monkeypatch.undo()
    assert paths(take(root)) == ["busy.log"]


def test_a_file_that_is_being_saved_is_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One change meanwhile costs a second reading, which finds the new content."""
    write(root, "a.py", content="old")
    read = os.read

    def saved_meanwhile(handle: int, size: int) -> bytes:
        monkeypatch.undo()
        chunk = read(handle, size)
        write(root, "a.py", content="new one")
        return chunk

    monkeypatch.setattr(os, "read", saved_meanwhile)
    snapshot = take(root)
    chunks = sent(snapshot, snapshot.manifest.files[0].digest, 100)
    assert list(chunks) == [b"new one"]


def test_digests_are_cached_and_every_change_is_seen(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unread file keeps its digest; another size, time or inode is read again."""
    monkeypatch.setattr("dtf_dask.runs.hash_cache._SETTLED_NS", -(10**9))
    cache = tmp_path / "cache" / "hashes"
    write(root, "same.py", "size.py", "time.py", "inode.py", content="one")
    first = take(root, cache_path=cache)
    read: list[str] = []
    hash_file = stable_read.hash_file

    def noted(base: str, path: str) -> tuple[str, os.stat_result] | None:
        read.append(path)
        return hash_file(base, path)

    monkeypatch.setattr("dtf_dask.runs.snapshot.hash_file", noted)
    assert take(root, cache_path=cache).manifest == first.manifest
    assert read == []
    write(root, "size.py", content="three")
    os.utime(root / "time.py", (LONG_AGO, LONG_AGO))
    old = (root / "inode.py").stat()
    write(root, "new", content="two")
    os.utime(root / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(root / "new", root / "inode.py")
    second = take(root, cache_path=cache)
    assert sorted(read) == ["inode.py", "size.py", "time.py"]
    digest = {file.path: file.digest for file in second.manifest.files}
    assert digest["time.py"] == digest["same.py"] != digest["inode.py"]


def test_a_fresh_file_is_not_cached(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tick of the clock a second write of one length leaves no trace."""
    cache = tmp_path / "hashes"
    write(root, "a.py", content="one")
    take(root, cache_path=cache)
    read: list[str] = []
    hash_file = stable_read.hash_file

    def noted(base: str, path: str) -> tuple[str, os.stat_result] | None:
        read.append(path)
        return hash_file(base, path)

    monkeypatch.setattr("dtf_dask.runs.snapshot.hash_file", noted)
    take(root, cache_path=cache)
    assert read == ["a.py"]


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\x92\x01\x91\x01", b"\x92\x01\xc0"]
)
def test_a_damaged_cache_costs_time_only(
    root: Path, tmp_path: Path, content: bytes
) -> None:
    """It is read as empty and replaced."""
    cache = tmp_path / "hashes"
    cache.write_bytes(content)
    write(root, "a.py")
    assert paths(take(root, cache_path=cache)) == ["a.py"]


def test_a_cache_that_cannot_be_written_costs_time_only(root: Path) -> None:
    """The run goes on."""
    write(root, "a.py")
    assert paths(take(root, cache_path=Path(os.devnull, "x"))) == ["a.py"]


def test_the_same_code_has_the_same_address(root: Path, tmp_path: Path) -> None:
    """Times and places of files do not count; name, content and bits do."""
    write(root, "a.py", "b/c.py")
    copy = tmp_path / "elsewhere" / "project"
    shutil.copytree(root, copy)
    os.utime(copy / "a.py", (time.time(), LONG_AGO))
    assert take(root).manifest.digest == take(copy).manifest.digest
    (copy / "a.py").chmod(0o755)
    assert take(root).manifest.digest != take(copy).manifest.digest
