"""The thread that follows a cluster: who is read, from where on, what he tells.

It goes on at another coordinator when the one that it reads falls silent, hangs up or
knows no leader for long, from the last event that it heard. The window never waits for
it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from dtf_dask.errors import ProtocolError, UsageError
from dtf_dask.ha.elapsed import elapsed_s
from monitor_app.feed.calls import (
    CALL_S,
    Caller,
    CallError,
    Following,
    RefusedError,
    StrangeError,
    UnreachableError,
)
from monitor_app.feed.event_stream import EventStream, Told
from monitor_app.feed.inbox import Inbox, Line, read_told
from monitor_app.feed.leader_said import LeaderSaid
from monitor_app.feed.place import Place, parse_place
from monitor_app.feed.places import Places
from monitor_app.feed.pulse import ANSWER_S, Pulse
from monitor_app.feed.reasons import DEFECT, reason
from monitor_app.feed.tokens import Tokens, keep

SILENT_S = 25.0
"""Who says nothing for so long, though he says every 10 s that he is there, is left."""
LEADERLESS_S = 10.0
"""Who knows no leader for so long may be cut off: others are asked."""
ELSEWHERE_S = 5.0
"""Who does not begin to tell within so long is left for another one."""
ASLEEP_S = 5.0
"""By so much more than the monotonic clock the one of ages goes on in a sleep."""
REFUSED_S = 5.0
"""Who refuses is asked again after so long: it may have been mended."""


class _Left(Exception):
    """Whoever was read is left, and why."""


class Follower:
    """Follows from `start` until `close`.

    Parameters
    ----------
    places
        Where the cluster is, as somebody named it.
    tokens
        Shown to who asks for one.
    """

    def __init__(
        self,
        places: Iterable[Place],
        inbox: Inbox,
        tokens: Tokens,
        *,
        silent_s: float = SILENT_S,
        leaderless_s: float = LEADERLESS_S,
    ) -> None:
        self._places = Places(places, random.Random())
        self._inbox = inbox
        self._tokens = tokens
        self._silent_s = silent_s
        self._leaderless_s = leaderless_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._last = ""
        self._tag: str | None = None
        self._leads = True
        self._leader_said = LeaderSaid()
        self._stood: Mapping[str, Any] = {}
        self.place: Place = self._places.next()
        """Who is read, or was last."""

    @property
    def token(self) -> str:
        """What is shown to who is asked."""
        return self._tokens.shown

    def known(self) -> list[Place]:
        """All places, that of who is read first."""
        return list(dict.fromkeys([self.place, *self._places.all]))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, wait_s: float = 2.0) -> None:
        """End; the thread is not waited for longer than that."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            place = self._places.next()
            self._inbox.line(Line("connecting", str(place)))
            pause_s = 0.0
            try:
                self._follow(place)
            except RefusedError as error:
                asked = error.status == 401
                if asked and self._tokens.refused(place):
                    continue
                pause_s = max(self._places.failed(), 0 if self._more() else REFUSED_S)
                self._say("refused", place, error, token_asked=asked)
            except StrangeError as error:
                pause_s = max(self._places.failed(), 0 if self._more() else REFUSED_S)
                self._say("refused", place, error)
            except (_Left, UnreachableError, ProtocolError) as error:
                pause_s = self._places.failed()
                self._say("waiting", place, error)
            except Exception as error:  # of a defect, too, the window is told
                pause_s = max(self._places.failed(), REFUSED_S)
                self._say("waiting", place, f"{DEFECT}: {error!r}")
            self._closing.wait(pause_s)

    def _say(
        self, state: Any, place: Place, why: object, *, token_asked: bool = False
    ) -> None:
        if not self._closing.is_set():
            self._inbox.line(Line(state, str(place), str(why), token_asked))

    def _more(self) -> bool:
        return len(self._places.all) > 1

    def _follow(self, place: Place) -> None:
        """Read one of them until there is a reason to leave him."""
        limit_s = ELSEWHERE_S if self._more() else CALL_S
        following = Following(place, self._last, self.token, call_s=limit_s)
        self._leads = True
        try:
            self._read(place, following)
        finally:
            following.close()

    def _read(self, place: Place, following: Following) -> None:
        caller = Caller(place, self.token, call_s=ANSWER_S)
        try:
            self._hear_all(place, following, caller)
        finally:
            caller.close()
            self._leader_said.close()

    def _hear_all(self, place: Place, following: Following, caller: Caller) -> None:
        stream = EventStream()
        heard_at = led_at = elapsed_s()
        pulse = Pulse(heard_at)
        apart = heard_at - time.monotonic()
        live = False
        while not self._closing.is_set():
            piece = following.read()
            now = elapsed_s()
            if now - time.monotonic() - apart > ASLEEP_S:
                # Whoever is there has hung up long ago, and nobody says so.
                raise _Left(reason("this machine was asleep"))
            if piece == b"":
                raise _Left(reason("it hung up"))
            if now - led_at > self._leaderless_s and self._more():
                raise _Left(reason("it knows nobody who leads"))
            if piece is not None:
                heard_at = now
                pulse.heard(now)
                if not live:
                    live = True
                    self.place = place
                    self._places.reached()
                    self._inbox.line(Line("live", str(place)))
                    self._keep_token(place)
                self._inbox.awake(now)
                for told in stream.feed(piece):
                    self._hear(place, told, now)
            elif now - heard_at > self._silent_s:
                raise _Left(reason("it says nothing any more"))
            if live and pulse.due(now):
                self._ask_coordinators(place, caller, pulse)
                if self._more() and (why := pulse.wrong(elapsed_s())):
                    raise _Left(why)
            if self._leads:
                led_at = now

    def _keep_token(self, place: Place) -> None:
        """It is good: have it kept, if it should be; a keyring may ask somebody."""
        token = self._tokens.take_to_keep()

        def run() -> None:
            if why := keep(place, token):
                self._inbox.note(f"{reason('the token is not kept')}: {why}")

        if token:
            threading.Thread(target=run, name="keyring", daemon=True).start()

    def _ask_coordinators(self, place: Place, caller: Caller, pulse: Pulse) -> None:
        """How they stand now, and whether who is read is there at all.

        Events tell of the first when it changes, but not of figures that always do.
        """
        try:
            told = caller.get("/coordinators")
        except UnreachableError:
            pulse.unanswered(elapsed_s())
        except CallError:
            pulse.answered(None, elapsed_s())
        else:
            told = told if isinstance(told, Mapping) else {}
            pulse.answered(told.get("at"), elapsed_s())
            if told.get("quorum_left") is None:
                self._leader_said.ask(told, place, self.token, elapsed_s())
            if told:
                self._stand(place, told)

    def _stand(self, place: Place, told: Mapping[str, Any]) -> None:
        self._leads = told.get("leader") is not None
        self._learn(place, told)
        stands = self._leader_said.added(told)
        steady = {k: v for k, v in stands.items() if k not in ("at", "applied")}
        if steady != self._stood:
            self._stood = steady
            self._inbox.stand(stands)

    def _hear(self, place: Place, told: Told, now: float) -> None:
        """Take in an event."""
        try:
            said = json.loads(told.text)
        except (ValueError, RecursionError):
            raise ProtocolError(reason("it tells what is no JSON")) from None
        if told.name in ("snapshot", "changes"):
            self._same_cluster(place, told.id)
            self._inbox.hear(read_told(said), now)
            self._last = told.id
        elif told.name == "coordinators" and isinstance(said, Mapping):
            self._stand(place, said)

    def _same_cluster(self, place: Place, id: str) -> None:
        """Whoever was told of by a cluster is of it; what somebody named may be new."""
        tag = ":".join(id.split(":")[2:])
        if tag == self._tag:
            return
        if self._tag is not None:
            if not self._places.is_given(place):
                raise _Left(reason("another cluster is there now"))
            self._inbox.note(
                f"{place}: {reason('another cluster is there than before')}"
            )
        self._tag = tag

    def _learn(self, place: Place, said: Mapping[str, Any]) -> None:
        """Where the others are."""
        found = []
        items = said.get("items")
        for one in items if isinstance(items, list) else ():
            web = one.get("web") if isinstance(one, Mapping) else None
            if isinstance(web, str) and web:
                try:
                    found.append(parse_place(f"{place.scheme}://{web}"))
                except UsageError:
                    continue
        self._places.learn(found)
