"""Membership: which nodes are in a collective, and an event for each change.

    registry ── read ──► Watcher ─ compare, confirm failures ─► StateFile ─► events ─► handlers, templates, output
                            └► Membership of Members

members.py        Member, Membership, Event: the values
view.py           which records are members, and which of their facts count
tracker.py        compare a read of the registry with the members before
confirmation.py   whether a suspected node has failed
state_file.py     members and undelivered events, so that a restarted watcher continues
watcher.py        the loop: read, compare, confirm, store
"""

from collective.membership.members import ALIVE, Event, Member, Membership
from collective.membership.state_file import StateFile
from collective.membership.view import MemberView
from collective.membership.watcher import Watcher

__all__ = ["ALIVE", "Event", "Member", "MemberView", "Membership", "StateFile", "Watcher"]
