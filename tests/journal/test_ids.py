"""Identifiers, and the keys that are made of them."""

import time
import uuid
from dataclasses import replace

from sqlalchemy import String

from bot.journal.ids import new_id
from bot.journal.tables import incident
from tests.core.case import Case

LONGEST_KEY = 255
"""What PagerDuty takes as `dedup_key`."""


def test_ids_are_uuids_of_version_seven_that_sort_by_the_time_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(1_000)]
    after = time.time_ns() // 1_000_000
    ids = [uuid.UUID(text) for text in made]
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert [str(one) for one in ids] == made, "as the database compares them"
    milliseconds = [one.int >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
    assert before <= milliseconds[0]
    assert milliseconds[-1] <= after
    assert len(set(made)) == len(made)


def test_the_random_bits_of_ids_are_all_used() -> None:
    """74 bits besides time, version and variant; each is set in some and not in others."""
    ids = [uuid.UUID(new_id()).int & ((1 << 80) - 1) for _ in range(200)]
    always, never = ids[0], ~ids[0]
    for one in ids:
        always, never = always & one, never & ~one
    fixed = (always | never) & ((1 << 80) - 1)
    assert fixed == 0xF << 76 | 0x3 << 62


def test_the_longest_key_of_a_page_is_short_enough_for_pagerduty() -> None:
    """With the longest workspace that the tables take, and more rounds than anybody lives through."""
    column = incident.c.workspace.type
    assert isinstance(column, String)
    assert column.length
    opened = replace(Case().alerts(firing=1, new=1).inc, id=new_id(), workspace="w" * column.length)
    key = opened.page_key(2**31)
    assert len(key) <= LONGEST_KEY
    assert key != replace(opened, id=new_id()).page_key(2**31)
    assert key != opened.page_key(1)
