"""Reply slots: calls of one installation reuse the names of reply queues, and never share one."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.scripted_calls import call_shell
from support.scripted_fleet import COLLECTIVE, Part, Scripted

from collective import names
from collective.errors import ConfigError, Unreachable
from collective.fleet import reply_slots
from collective.fleet.reply_slots import Slot


def test_two_calls_at_once_have_two_slots(tmp_path: Path) -> None:
    """A locked slot is not given to another call, and a released slot is."""
    first, second = reply_slots.take(tmp_path, "p"), reply_slots.take(tmp_path, "p")
    assert first.queue != second.queue
    first.release()
    again = reply_slots.take(tmp_path, "p")
    assert again.queue == first.queue
    again.release()
    second.release()


def test_concurrent_threads_have_different_slots(tmp_path: Path) -> None:
    """Ten threads that start at the same time with an empty folder have ten names of one installation."""
    start, taken = threading.Barrier(10), list[Slot]()

    def take() -> None:
        start.wait()
        taken.append(reply_slots.take(tmp_path, "p"))

    threads = [threading.Thread(target=take) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queues = {slot.queue for slot in taken}
    for slot in taken:
        slot.release()
    assert len(queues) == 10
    assert len({queue.rpartition("-")[0] for queue in queues}) == 1


def test_another_process_has_another_slot(tmp_path: Path) -> None:
    """Locks hold between processes, and are released when a process ends."""
    script = (
        "import sys; from pathlib import Path; from collective.fleet import reply_slots\n"
        "slot = reply_slots.take(Path(sys.argv[1]), 'p')\n"
        "print(slot.queue, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other_queue = other.stdout.readline().strip()
        slot_here = reply_slots.take(tmp_path, "p")
        other.kill()
    assert other_queue
    assert slot_here.queue != other_queue
    freed = reply_slots.take(tmp_path, "p")
    assert freed.queue == other_queue
    for slot in (slot_here, freed):
        slot.release()


def test_each_collective_has_its_own_slots(tmp_path: Path) -> None:
    """The name of a reply queue contains that of its collective, and is one that nodes accept."""
    for collective in ("production", "c" * 20):
        slot = reply_slots.take(tmp_path, collective)
        assert names.is_reply_queue(slot.queue, collective)
        assert len(slot.queue) <= names.QUEUE_NAME_LIMIT
        slot.release()


def test_two_installations_have_different_slots(tmp_path: Path) -> None:
    """Installations with the same user and host names differ by a random suffix."""
    queues = set()
    for number in range(5):
        slot = reply_slots.take(tmp_path / str(number), "p")
        queues.add(slot.queue)
        slot.release()
    assert len(queues) == 5


def test_a_stored_value_is_available_to_the_next_call(tmp_path: Path) -> None:
    """A shorter value replaces a longer one completely."""
    for note, before in (("https://long.example.com/queue", None), ("short", "https://long.example.com/queue")):
        slot = reply_slots.take(tmp_path, "p")
        assert slot.known == before
        slot.store(note)
        slot.release()
    slot = reply_slots.take(tmp_path, "p")
    assert slot.known == "short"
    slot.release()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the folder, the reason, and the configuration key to set."""
    state = tmp_path / "state"
    state.write_text("a file is in the way")
    message = rf"^{state}/slots/p: cannot write reply slots: .* \(set 'state' in client.yaml\)$"
    with pytest.raises(ConfigError, match=message):
        reply_slots.take(state, "p")


def test_slots_are_private_to_their_user(tmp_path: Path) -> None:
    """Other users can neither read nor lock the slots."""
    slot = reply_slots.take(tmp_path, "p")
    slot.release()
    folder = tmp_path / "slots" / "p"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "0").stat().st_mode & 0o077 == 0


DAMAGED = [b"", b"\n", b"\xff\xfe\0", b"../../etc", b"A B", b"abcd" * 1000, b"12", "\u0663\u0663\u0663\u0663".encode()]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_installation_is_replaced(tmp_path: Path, content: bytes) -> None:
    """The name of the reply queue is valid, and later calls have the same one."""
    (tmp_path / "installation").write_bytes(content)
    first = reply_slots.take(tmp_path, "p")
    first.release()
    again = reply_slots.take(tmp_path, "p")
    again.release()
    assert names.is_reply_queue(first.queue, "p")
    assert re.fullmatch(r"p_reply_[a-z0-9-]+-[0-9a-f]{4}-0", first.queue)
    assert again.queue == first.queue
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["installation"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_slot_is_used_as_an_empty_one(tmp_path: Path, content: bytes) -> None:
    """What the file holds only saves a request; what the call stores replaces it."""
    (tmp_path / "slots" / "p").mkdir(parents=True)
    (tmp_path / "slots" / "p" / "0").write_bytes(content)
    slot = reply_slots.take(tmp_path, "p")
    slot.store("known")
    slot.release()
    again = reply_slots.take(tmp_path, "p")
    assert again.known == "known"
    again.release()


@pytest.mark.parametrize("path", ["installation", "slots/p/0"])
def test_a_folder_in_place_of_a_state_file_is_one_line(tmp_path: Path, path: str) -> None:
    """The error names the path."""
    (tmp_path / path).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"{path}: cannot write reply slots: Is a directory \(set 'state'"):
        reply_slots.take(tmp_path, "p")


class Closed(Scripted):
    """A fleet whose reply queues cannot be opened; the error has the name of the queue."""

    def open_replies(self, queue: str, known: str | None = None) -> str:  # noqa: ARG002
        """Fail."""
        raise Unreachable(queue)


def test_a_call_whose_reply_queue_cannot_be_opened_frees_its_slot(tmp_path: Path) -> None:
    """The slot is free at once for the next call, although the error and its frames still exist."""
    with pytest.raises(Unreachable) as error:
        call_shell(Closed({"a": Part()}), tmp_path)
    slot = reply_slots.take(tmp_path, COLLECTIVE)
    assert slot.queue == str(error.value)
    slot.release()
