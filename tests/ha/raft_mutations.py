"""Bugs that somebody could write into the core: each a small change of its source.

`mutate_raft.py` tries whether the tests notice them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One bug: in ``module`` of `dtf_dask.ha.raft`, ``old`` reads ``new``.

    ``harmless`` says why nobody can notice it, if so.
    """

    name: str
    module: str
    old: str
    new: str
    harmless: str = ""


MUTATIONS = (
    # Votes
    Mutation(
        "a vote is asked for before it is on disk that the node stands",
        "core",
        "        MessageKind.VOTE,\n",
        "",
    ),
    Mutation(
        "a node votes twice in a term",
        "election",
        "or (core.vote == NO_NODE and core.lead == NO_NODE)",
        "or core.lead == NO_NODE",
    ),
    Mutation(
        "a node votes though it knows the leader of the term",
        "election",
        "or (core.vote == NO_NODE and core.lead == NO_NODE)",
        "or core.vote == NO_NODE",
    ),
    Mutation(
        "a vote goes to a log that is behind",
        "election",
        "granted = free and log.at_least(message.log_index, message.log_term)",
        "granted = free",
    ),
    Mutation(
        "the longer log wins, whatever its last term",
        "log",
        "return term > last_term or (term == last_term and index >= self.last_index())",
        "return index >= self.last_index()",
    ),
    Mutation(
        "of logs with the same last term the shorter may win",
        "log",
        "return term > last_term or (term == last_term and index >= self.last_index())",
        "return term >= last_term",
    ),
    Mutation(
        "a log that is equal is not good enough",
        "log",
        "(term == last_term and index >= self.last_index())",
        "(term == last_term and index > self.last_index())",
    ),
    Mutation(
        "a vote is not kept",
        "election",
        "        core.vote = message.sender\n",
        "",
    ),
    Mutation(
        "a candidate does not keep its vote for itself",
        "core",
        "        self.vote = self.node\n",
        "",
    ),
    Mutation(
        "a campaign stays in the old term",
        "core",
        "self._reset(self.term + 1)",
        "self._reset(max(self.term, 1))",
    ),
    Mutation(
        "asking beforehand counts as a vote",
        "election",
        "if granted and not before_election:",
        "if granted:",
    ),
    Mutation(
        "an answer to an earlier question counts as one to the vote",
        "election",
        "if asking and not message.reject and message.term != core.term + 1:",
        "if asking and not message.reject and message.term > core.term + 1:",
    ),
    Mutation(
        "a candidate hears answers to its question beforehand as votes",
        "stepping",
        "        MessageKind.VOTE_RESPONSE: election.on_vote_response,\n",
        "        MessageKind.VOTE_RESPONSE: election.on_vote_response,\n"
        "        MessageKind.PRE_VOTE_RESPONSE: election.on_vote_response,\n",
    ),
    Mutation(
        "half of the voters are a majority",
        "quorum",
        "needed = len(votes) // 2 + 1 if votes else 0",
        "needed = (len(votes) + 1) // 2 if votes else 0",
    ),
    Mutation(
        "one of two configurations is enough for a vote",
        "quorum",
        "    if VoteResult.PENDING in results:\n        return VoteResult.PENDING\n",
        "    if VoteResult.WON not in results:\n        return VoteResult.PENDING\n",
    ),
    Mutation(
        "a rejected vote counts",
        "election",
        "votes.setdefault(message.sender, not message.reject)",
        "votes.setdefault(message.sender, True)",
    ),
    Mutation(
        "everybody is asked for a vote, and everybody counts",
        "tracker",
        "[votes.get(node) for node in membership.incoming],",
        "[votes.get(node) for node in (*membership.incoming, *membership.learners)],",
    ),
    Mutation(
        "a learner campaigns",
        "core",
        "            and not progress.learner\n",
        "",
    ),
    Mutation(
        "a node campaigns while it waits for a snapshot to be applied",
        "core",
        "            and not self.log.waits_for_snapshot()\n",
        "",
    ),
    Mutation(
        "a node campaigns by a configuration that is about to change",
        "election",
        "        return Outcome.CHANGE_UNAPPLIED\n",
        "        pass\n",
    ),
    Mutation(
        "votes of an earlier campaign are kept",
        "tracker",
        "        self.votes = {}\n        for node, old in",
        "        for node, old in",
    ),
    Mutation(
        "a new leader appends nothing of its own",
        "election",
        '    append_own(core, (b"",))\n',
        "",
    ),
    Mutation(
        "a leader that hears of no quorum goes on",
        "stepping",
        "        if options.check_quorum:\n            election.check_quorum(core)\n",
        "",
    ),
    Mutation(
        "a leader counts itself out of its quorum",
        "tracker",
        "            if node != own_id:\n                progress.active = False\n",
        "            progress.active = False\n",
    ),
    Mutation(
        "a vote is given while the leader is heard of",
        "stepping",
        "        and core.election_elapsed < core.options.election_ticks\n",
        "        and core.election_elapsed < 0\n",
    ),
    Mutation(
        "whoever the leader hands over to is spared as any other",
        "stepping",
        "        and message.context != election.FORCED\n",
        "",
    ),
    Mutation(
        "a removed leader takes the news along",
        "election",
        "    tells = not granted and not core.is_voter()\n",
        "    tells = False\n",
    ),
    Mutation(
        "what a refused vote says is committed is believed of any entry",
        "election",
        "    if message.commit > log.commit and log.term(message.commit) =="
        " message.log_term:\n",
        "    if log.commit < message.commit <= log.last_index():\n",
    ),
    # Terms
    Mutation(
        "messages of older terms are taken",
        "stepping",
        "            return _of_older_term(core, message)\n",
        "            handler = HANDLERS[core.role].get(kind)\n"
        "            return handler(core, message) if handler else Outcome.DONE\n",
    ),
    Mutation(
        "answers of an older term count",
        "stepping",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n    }\n)\n_ASKS",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n"
        "        MessageKind.APPEND_RESPONSE,\n    }\n)\n_ASKS",
    ),
    Mutation(
        "heartbeat answers of an older term count",
        "stepping",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n    }\n)\n_ASKS",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n"
        "        MessageKind.HEARTBEAT_RESPONSE,\n    }\n)\n_ASKS",
    ),
    Mutation(
        "an older leader is not told that its time is over",
        "stepping",
        "    if kind in _STIRS_A_STALE_LEADER and (",
        "    if False and (",
    ),
    Mutation(
        "a newer term does not end leadership",
        "stepping",
        "    leads = kind in _FROM_LEADER\n",
        "    if core.role is Role.LEADER:\n        return\n"
        "    leads = kind in _FROM_LEADER\n",
    ),
    Mutation(
        "asking beforehand moves others to a newer term",
        "stepping",
        "        return  # nobody is in that term yet\n",
        "        pass\n",
    ),
    Mutation(
        "a storage's answer of an older term counts for entries",
        "stepping",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n    }\n)\n_ASKS",
        "        MessageKind.STORAGE_APPLY_RESPONSE,\n"
        "        MessageKind.STORAGE_APPEND_RESPONSE,\n    }\n)\n_ASKS",
    ),
    # Replication
    Mutation(
        "entries of older terms are committed by counting",
        "replication",
        "if index > log.commit and log.term(index) == core.term:",
        "if index > log.commit:",
    ),
    Mutation(
        "the commit index is what somebody holds, not a majority",
        "quorum",
        "return ordered[(len(ordered) - 1) // 2]",
        "return ordered[len(ordered) // 2]",
    ),
    Mutation(
        "one of two configurations is enough to commit",
        "quorum",
        "return min(majority_index(incoming), majority_index(outgoing))",
        "return max(majority_index(incoming), majority_index(outgoing))",
    ),
    Mutation(
        "the outgoing configuration does not count",
        "tracker",
        "        if not membership.outgoing:\n"
        "            return majority_index(incoming)\n",
        "        if membership is not None:\n"
        "            return majority_index(incoming)\n",
    ),
    Mutation(
        "a learner counts for commits",
        "tracker",
        "incoming = [progress[node].match for node in membership.incoming]",
        "incoming = [progress[node].match for node in progress]",
    ),
    Mutation(
        "a leader counts its entries before they are on disk",
        "replication",
        "    core.log.append(list(map(_entry, fields)))\n",
        "    core.log.append(list(map(_entry, fields)))\n"
        "    if core.node in core.tracker.progress:\n"
        "        core.tracker.progress[core.node].acknowledged(last)\n",
    ),
    Mutation(
        "acknowledgements are sent before the disk has it",
        "following",
        "def _acknowledge(core: Core, message: Message, index: int) -> None:\n"
        "    core.promises.append(",
        "def _acknowledge(core: Core, message: Message, index: int) -> None:\n"
        "    core.outbox.append(",
    ),
    Mutation(
        "votes are sent before the disk has them",
        "core",
        "        MessageKind.VOTE_RESPONSE,\n",
        "",
    ),
    Mutation(
        "a follower acknowledges one entry too many",
        "following",
        "    _acknowledge(core, message, last_new)\n",
        "    _acknowledge(core, message, log.last_index())\n",
    ),
    Mutation(
        "entries are taken whatever is before them",
        "following",
        "    if here != message.log_term:\n",
        "    if here is None:\n",
    ),
    Mutation(
        "what is there already is cut off",
        "following",
        "    conflict = log.conflict(entries)\n",
        "    conflict = previous + 1 if entries else None\n",
    ),
    Mutation(
        "a conflict is looked for by index only",
        "log",
        "if index >= first_new or self.term(index) != entry.term:",
        "if index >= first_new:",
    ),
    Mutation(
        "committed entries are replaced",
        "following",
        "    if previous < log.commit:\n"
        "        _acknowledge(core, message, log.commit)\n"
        "        return Outcome.DONE\n",
        "",
    ),
    Mutation(
        "a contradiction of what is committed is not seen",
        "following",
        "        return Outcome.COMMITTED_CONFLICT\n",
        "        pass\n",
    ),
    Mutation(
        "a follower commits what the leader has not sent yet",
        "following",
        "log.commit = max(log.commit, min(message.commit, last_new))",
        "log.commit = max(log.commit, min(message.commit, log.last_index()))",
    ),
    Mutation(
        "an append may take the commit index back",
        "following",
        "log.commit = max(log.commit, min(message.commit, last_new))",
        "log.commit = min(message.commit, last_new)",
    ),
    Mutation(
        "a heartbeat may take the commit index back",
        "following",
        "    log.commit = max(log.commit, message.commit)\n",
        "    log.commit = message.commit\n",
    ),
    Mutation(
        "a heartbeat tells more than the peer has",
        "replication",
        "known = min(progress.match, commit)",
        "known = commit",
    ),
    Mutation(
        "a lost log is not noticed",
        "following",
        "        return Outcome.LOG_LOST\n",
        "        return Outcome.DONE\n",
    ),
    Mutation(
        "a peer's match goes back",
        "progress",
        "        if index <= self.match:\n"
        "            return False\n        self.match = index\n",
        "        self.match = index\n",
    ),
    Mutation(
        "a late rejection is believed",
        "progress",
        "            if index != self.next - 1:\n                return False\n",
        "",
    ),
    Mutation(
        "a rejection while streaming goes below what is known to be there",
        "progress",
        "            if index <= self.match:\n"
        "                return False\n            self.next",
        "            self.next",
        harmless="entries are sent again from where the peer is known to be",
    ),
    Mutation(
        "a follower points too far back where logs may agree",
        "log",
        "            if here <= term:\n                return index, here\n",
        "            if here < term:\n                return index, here\n",
    ),
    Mutation(
        "what a storage wrote late counts, though it was replaced",
        "unstable",
        "        if self.entries[position].term != term:\n            return False\n",
        "",
    ),
    Mutation(
        "what replaces entries in progress is not written",
        "unstable",
        "            self.in_progress = min(self.in_progress, first)\n",
        "",
    ),
    Mutation(
        "entries that replace those on disk are taken for written",
        "unstable",
        "            self.offset = first\n            self.in_progress = first\n",
        "            self.in_progress = first\n",
    ),
    Mutation(
        "a window that is full is never waited for",
        "progress",
        "            self.paused = self.inflights.full\n",
        "            self.paused = True\n",
    ),
    Mutation(
        "what is acknowledged stays in the window",
        "leading",
        "        progress.inflights.acknowledge(index)\n",
        "        pass\n",
    ),
    Mutation(
        "a heartbeat's answer brings nothing back",
        "leading",
        "    progress.paused = False\n",
        "",
    ),
    Mutation(
        "a commit is not told to the others",
        "leading",
        "    if maybe_commit(core):\n        broadcast_append(core)\n",
        "    if maybe_commit(core):\n        pass\n",
    ),
    Mutation(
        "entries are counted for the size limit and never freed",
        "membership",
        "        core.uncommitted_bytes = max("
        "core.uncommitted_bytes - payload_bytes(entries), 0)\n",
        "",
    ),
    # Snapshots
    Mutation(
        "an old snapshot is restored over newer entries",
        "following",
        "    if point.index <= log.commit:\n        return False\n",
        "",
    ),
    Mutation(
        "a snapshot is acknowledged though nothing came of it",
        "following",
        "        _acknowledge(core, message, core.log.commit)\n",
        "        _acknowledge(core, message, core.log.last_index())\n",
    ),
    Mutation(
        "the members of a snapshot are forgotten",
        "following",
        "    membership.restore(core, point.config)\n",
        "",
    ),
    Mutation(
        "a snapshot leaves old entries behind it",
        "unstable",
        "        self.entries = []\n        self.snapshot = snapshot\n",
        "        self.snapshot = snapshot\n",
    ),
    Mutation(
        "entries are applied before the snapshot that they follow",
        "log",
        "            and self.unstable.snapshot is None\n",
        "",
    ),
    Mutation(
        "a snapshot that did not arrive is never sent again",
        "leading",
        "        progress.snapshot_index = 0  # go on from what it had before\n"
        "    progress.probe()\n",
        "        return\n    progress.probe()\n",
    ),
    Mutation(
        "a compacted log is sent as if nothing was missing",
        "replication",
        "        return _send_snapshot(core, peer, progress)\n    entries: Sequence",
        "        previous_term = 0\n    entries: Sequence",
    ),
    # Applying
    Mutation(
        "entries are applied before they are on disk",
        "log",
        "return self.commit if unstable"
        " else min(self.commit, self.unstable.offset - 1)",
        "return self.commit",
    ),
    Mutation(
        "one entry more than is committed is applied",
        "log",
        "        high = self.appliable_index(unstable=unstable) + 1\n",
        "        high = min(self.appliable_index(unstable=unstable) + 2,"
        " self.last_index() + 1)\n",
    ),
    Mutation(
        "entries are handed out twice",
        "log",
        "        self.applying = index\n        self.applying_bytes += ",
        "        self.applying_bytes += ",
    ),
    Mutation(
        "entries are never handed out again once there were many",
        "log",
        "        self.applying_paused = self.applying_bytes >= self.apply_bytes_max\n",
        "",
    ),
    # Members
    Mutation(
        "two changes may be under way",
        "proposals",
        "    if core.pending_change > core.log.applied:\n"
        "        return Outcome.CHANGE_PENDING\n",
        "",
    ),
    Mutation(
        "a new leader knows nothing of a change under way",
        "election",
        "    core.pending_change = core.log.last_index()\n",
        "",
    ),
    Mutation(
        "a change may begin while two configurations hold",
        "proposals",
        "        return Outcome.CHANGE_WHILE_JOINT\n",
        "        pass\n",
    ),
    Mutation(
        "a change that was refused for its size stands in the way for ever",
        "proposals",
        "        core.pending_change = pending_before\n",
        "",
    ),
    Mutation(
        "a refused change is in the log all the same",
        "proposals",
        "            kinds[position] = EntryKind.NORMAL\n"
        '            payloads[position] = b""\n',
        "",
    ),
    Mutation(
        "several voters change without a joint configuration",
        "membership",
        "    elif change.transition is not Transition.AUTO or len(change.steps) > 1:",
        "    elif change.transition is not Transition.AUTO:",
    ),
    Mutation(
        "a simple change may alter several voters",
        "config_change",
        "    if draft.incoming and len(old.incoming ^ draft.incoming) > 1:\n"
        "        return Unchanged.SEVERAL_VOTERS\n",
        "",
    ),
    Mutation(
        "a joint configuration begins without the old voters",
        "config_change",
        "    draft.outgoing = set(old.incoming)\n",
        "    draft.outgoing = set(old.incoming & draft.incoming)\n"
        "    draft.outgoing = set(list(sorted(draft.outgoing))[:1])\n",
    ),
    Mutation(
        "a joint configuration is never left by itself",
        "membership",
        "        propose_leaving(core)\n",
        "        pass\n",
    ),
    Mutation(
        "leaving a joint configuration is proposed again while it is under way",
        "membership",
        "        and core.log.applied >= core.pending_change\n",
        "",
    ),
    Mutation(
        "a voter that becomes a learner votes on in the new configuration",
        "config_change",
        "        self.remove(node)\n        self.progress[node] = progress\n",
        "        self.progress[node] = progress\n",
    ),
    Mutation(
        "the last voter can be removed",
        "config_change",
        "        if not self.incoming:\n"
        "            return Unchanged.NOBODY_WOULD_VOTE\n",
        "",
    ),
    Mutation(
        "a refused change has changed what is known of members",
        "config_change",
        "self.progress = {node: p.fork() for node, p in tracker.progress.items()}",
        "self.progress = tracker.progress",
    ),
    Mutation(
        "a removed leader goes on",
        "membership",
        "        if core.options.step_down_on_removal:\n",
        "        if False:\n",
    ),
    Mutation(
        "a smaller quorum commits nothing until the next entry",
        "membership",
        "    if maybe_commit(core):\n        # The quorum",
        "    if False:\n        # The quorum",
    ),
    Mutation(
        "a change that a snapshot has overtaken is made again",
        "raw_node",
        "            return Unchanged.OVERTAKEN\n",
        "            pass\n",
    ),
    # Reads
    Mutation(
        "reads are answered without a quorum",
        "reads",
        "return core.tracker.tally(heard) is VoteResult.WON",
        "return True",
    ),
    Mutation(
        "a round of reads is confirmed by answers to earlier rounds",
        "read_rounds",
        "if number >= first.number",
        "if number",
    ),
    Mutation(
        "a new leader answers reads before it knows what is committed",
        "reads",
        "            and core.committed_in_term()\n",
        "",
    ),
    Mutation(
        "reads are answered as of what is applied",
        "reads",
        "    begun = core.reads.begin(core.log.commit)\n",
        "    begun = core.reads.begin(core.log.applied)\n",
    ),
    Mutation(
        "reads that come while a round is under way join it",
        "read_rounds",
        "        self.last_number += 1\n",
        "        self.last_number = max(self.last_number, 1)\n",
    ),
    Mutation(
        "an answered round is not forgotten with the leadership",
        "core",
        "        self.reads = ReadRounds()\n        self.refuse_reads()\n",
        "        self.refuse_reads()\n",
        harmless="numbers of rounds go on, and whoever asked was refused by then",
    ),
    Mutation(
        "reads are never given up",
        "stepping",
        "    reads.expire(core)\n",
        "",
    ),
    Mutation(
        "a read is answered twice",
        "reads",
        "if core.asked.pop(number, None) is not None]",
        "if core.asked.get(number) is not None]",
    ),
    Mutation(
        "reads that wait for a removed node wait for ever",
        "membership",
        "    reads.release(core)\n",
        "",
    ),
    # Transfer
    Mutation(
        "leadership is handed to a node that lacks entries",
        "transfer",
        "    if progress.match == core.log.last_index():\n",
        "    if True:\n",
    ),
    Mutation(
        "leadership is handed to a learner",
        "transfer",
        "    if progress.learner:\n        return Outcome.NOT_PROMOTABLE\n",
        "",
    ),
    Mutation(
        "a transfer that fails stops proposals for ever",
        "stepping",
        "        core.transferee = NO_NODE\n",
        "",
    ),
    Mutation(
        "proposals are taken while leadership is handed over",
        "proposals",
        "    if core.transferee != NO_NODE:\n        return Outcome.TRANSFERRING\n",
        "",
    ),
    # Start
    Mutation(
        "a restarted node forgets its vote",
        "raw_node",
        "core.term, core.vote = hard_state.term, hard_state.vote",
        "core.term = hard_state.term",
    ),
    Mutation(
        "a restarted node applies again what its snapshot holds",
        "raw_node",
        "        core.log.applied_to(options.applied, 0)\n",
        "",
    ),
    Mutation(
        "a change of the hard state need not be synced",
        "raw_node",
        "must_sync = bool(entries) or hard_state[:2] != self._hard_state[:2]",
        "must_sync = bool(entries)",
    ),
    Mutation(
        "a hard state is said to be written only once",
        "raw_node",
        "new_hard_state = hard_state if hard_state != self._hard_state else None",
        "new_hard_state = hard_state if hard_state[0] != self._hard_state[0] else None",
    ),
)
