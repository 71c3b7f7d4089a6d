"""Rare paths that a batch of seeds should reach. A simulator that never gets there proves nothing about them.

Observed from outside, in what members say, write and hold. The run counts more than these; these are expected.
"""

from collections.abc import Mapping
from typing import Final

EXPECTED: Final[dict[str, str]] = {
    "election_won": "a member won an election",
    "leader_ended": "a leader stepped down",
    "vote_granted": "a vote was on disk, and was said",
    "log_truncated": "a follower gave up entries of a deposed leader",
    "snapshot_saved": "a member's own snapshot became durable",
    "snapshot_installed": "a leader's snapshot took the place of a log",
    "snapshot_rejected": "a snapshot on its way in did not add up, or could not be stored",
    "snapshot_failed": "a member's own snapshot could not be saved",
    "section_missing": "a snapshot was gone, or bad, while it was being sent",
    "torn_tail_cut": "a batch that was torn by a crash was cut",
    "damage_told": "a damaged disk was told as such",
    "joined_recovering": "an empty disk under an old name joined, recovering",
    "recovering_ended": "a member that had lost something was whole again",
    "session_session_expired": "a session was silent for its timeout",
    "session_session_ended": "a client ended its session",
    "client_backlog": "a client had much to take in",
    "configuration_proposed": "voters or learners were changed",
    "configuration_joint": "a joint configuration was committed",
    "transferred": "a leader handed over",
    "pre_vote_refused": "a pre-vote was refused",
    "leader_told_down": "a follower was told that its leader's process was gone",
    "leader_told_down_falsely": "it was not",
    "gap_told": "a watch was told that history does not reach back",
    "retry_answered": "a request went into the log twice, and was answered from what the session keeps",
    "claim_granted": "a claim was granted",
    "claim_transferred": "a claim was handed on to one that waited",
    "holder_expired": "the session of a holder was silent for its timeout",
    "delay_over": "somebody was granted what a lock delay had kept from him",
    "held_back_no_more": "somebody was granted what had been held back",
    "rate_used_up": "a grant came right after another in its lane's rate",
    "grant_of_an_earlier_term": "a claim was queued under one leader, and granted under another",
    "any_child_granted": "who waited for any child was granted one",
    "grants_left_over": "one revision could not grant all who were next",
    "left_over_granted": "a later entry went on with them",
    "successor_gone": "a claim was to be handed on to one that waited no more",
    "gap_of_claims_told": "a client had to list its own claims anew",
    "stale_token_refused": "a fence refused a write",
    "died: SyncFailed": "a failed sync ended a process",
    "died: DiskFull": "a full disk ended a process",
    "outside: deaf": "a quorum got on while somebody outside spoke and did not hear",
}


def missing(marks: Mapping[str, int]) -> list[str]:
    """Those that were not reached."""
    return [name for name in EXPECTED if not marks.get(name)]
