"""Faults of a scheduler, planted into recordings that are legal.

Each is planted where it is known to matter: a dropped edge must have been the only order between
two conflicting accesses, as a search through all pairs says.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from graphopt.engine.recordings.check import Rule
from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord
from tests.engine.recordings import edges, unordered, without

Fault = Callable[[Recording, Random], bool]
"""Plants a fault; returns False where the recording has no place for it."""

FAULTS: dict[str, tuple[Fault, set[Rule]]] = {}


def fault(*rules: Rule) -> Callable[[Fault], Fault]:
    """Register a fault and the rules of which one must be broken."""

    def register(plant: Fault) -> Fault:
        FAULTS[plant.__name__] = plant, set(rules)
        return plant

    return register


def drop(
    recording: Recording, random: Random, wanted: Callable[[TaskRecord, int, str], bool]
) -> bool:
    """Drop one edge of a kind that was the only order between two conflicting accesses."""
    candidates = [edge for edge in edges(recording) if wanted(*edge)]
    random.shuffle(candidates)
    for record, seq, _ in candidates:
        then, after = record.then, record.after
        without(record, seq)
        if unordered(recording):
            return True
        record.then, record.after = then, after
    return False


# Dropped, moved and reversed edges. The times stay as they were: luck is no order.


@fault("RAW")
def read_after_write_dropped(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        return field == "then" and seq > 0 and bool({*record.writes} & {*recording.tasks[seq].read})

    return drop(recording, random, wanted)


@fault("WAR")
def write_after_read_dropped(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        later = recording.tasks[seq]
        return field == "after" and bool({*record.read} & {*later.mutate, *later.overwrite})

    return drop(recording, random, wanted)


@fault("WAW")
def write_after_write_dropped(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        return field == "after" and bool({*record.mutate} & {*recording.tasks[seq].overwrite})

    return drop(recording, random, wanted)


@fault("RAW")
def mutation_after_mutation_dropped(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        return field == "then" and bool({*record.mutate} & {*recording.tasks[seq].mutate})

    return drop(recording, random, wanted)


@fault("WAW", "WAR")
def deletion_too_early(recording: Recording, random: Random) -> bool:
    return drop(recording, random, lambda _, seq, __: recording.tasks[seq].kind == "delete")


@fault("RAW", "WAW")
def member_missing_in_join(recording: Recording, random: Random) -> bool:
    return drop(recording, random, lambda _, seq, __: seq < 0)


@fault("RAW")
def reader_does_not_wait_for_join(recording: Recording, random: Random) -> bool:
    return drop(recording, random, lambda record, _, field: record.seq < 0 and field == "then")


@fault("WAW")
def overwrite_does_not_wait_for_join(recording: Recording, random: Random) -> bool:
    return drop(recording, random, lambda record, _, field: record.seq < 0 and field == "after")


@fault("RAW")
def accumulation_before_the_value_it_adds_to(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        later = recording.tasks[seq]
        return seq > 0 and bool({*record.mutate, *record.overwrite} & {*later.accumulate})

    return drop(recording, random, wanted)


@fault("WAR")
def accumulation_before_a_read_of_the_old_value(recording: Recording, random: Random) -> bool:
    def wanted(record: TaskRecord, seq: int, field: str) -> bool:
        return field == "after" and bool({*record.read} & {*recording.tasks[seq].accumulate})

    return drop(recording, random, wanted)


@fault("RAW", "WAR", "WAW")
def all_edges_of_a_task_dropped(recording: Recording, random: Random) -> bool:
    record = random.choice([*recording])
    record.then = record.after = ()
    return bool(unordered(recording))


@fault("RAW", "WAR", "WAW")
def edge_to_nowhere(recording: Recording, random: Random) -> bool:
    record, seq, _ = random.choice([*edges(recording)])
    without(record, seq)
    record.after += (10**6,)
    return bool(unordered(recording))


@fault("RAW")
def reader_in_the_wrong_group(recording: Recording, random: Random) -> bool:
    """It waits for the end of another group of accumulations of its variable."""
    for join in [each for each in recording if each.seq < 0]:
        others = [each for each in recording if each.seq < 0 and each is not join]
        for seq in join.then:
            if others and seq > 0 and recording.tasks[seq].read:
                without(join, seq)
                random.choice(others).then += (seq,)
                if unordered(recording):
                    return True
    return False


@fault("RAW", "WAR", "WAW", "edge")
def late_member_in_a_closed_group(recording: Recording, random: Random) -> bool:
    joins = [each for each in recording if each.seq < 0 and max(each.then, default=0) > 0]
    if not joins:
        return False
    join = random.choice(joins)
    late = [each for each in recording if each.seq >= min(join.then)]
    random.choice(late).then += (join.seq,)
    return True


@fault("RAW", "WAR", "WAW", "edge")
def edge_reversed(recording: Recording, random: Random) -> bool:
    found = [(record, seq) for record, seq, _ in edges(recording) if record.seq > 0 and seq > 0]
    if not found:
        return False
    record, seq = random.choice(found)
    without(record, seq)
    recording.tasks[seq].after += (record.seq,)
    return True


@fault("RAW", "WAR", "WAW")
def a_read_that_was_a_mutation(recording: Recording, random: Random) -> bool:
    """Edges were derived for a weaker access than the task makes."""
    readers = [each for each in recording if each.read]
    random.shuffle(readers)
    for record in readers:
        read, record.read, record.mutate = record.read, (), record.mutate + record.read
        if unordered(recording):
            return True
        record.read, record.mutate = read, tuple(set(record.mutate) - set(read))
    return False


# Edges that were recorded and not obeyed.


def obeyed_edge(recording: Recording, random: Random) -> tuple[TaskRecord, TaskRecord] | None:
    """Two tasks of which one waited for the other; both ran."""
    found = [(record, recording.tasks[seq]) for record, seq, _ in edges(recording) if seq > 0]
    found = [pair for pair in found if all(each.started >= 0 for each in pair)]
    return random.choice(found) if found else None


@fault("RAW", "WAR", "WAW")
def start_before_completion(recording: Recording, random: Random) -> bool:
    pair = obeyed_edge(recording, random)
    if pair is None:
        return False
    earlier, later = pair
    later.started = max(later.integrated, earlier.finished) + 1
    return later.started < earlier.completed


@fault("RAW", "WAR", "WAW")
def start_before_end(recording: Recording, random: Random) -> bool:
    pair = obeyed_edge(recording, random)
    if pair is None:
        return False
    assert pair[0].end is not None
    pair[1].start = pair[1].entered = pair[0].end - 1e-9
    return True


@fault("RAW", "WAR", "WAW")
def transposed_completions(recording: Recording, random: Random) -> bool:
    pair = obeyed_edge(recording, random)
    if pair is None:
        return False
    first, second = pair
    first.completed, second.completed = second.completed, first.completed
    return True


@fault("RAW", "WAR", "WAW")
def skipped_before_what_it_waits_for(recording: Recording, random: Random) -> bool:
    """A relay that is over too early lets its successors go too early."""
    found = [(record, recording.tasks[seq]) for record, seq, _ in edges(recording) if seq > 0]
    found = [pair for pair in found if pair[1].started < 0 and pair[0].seq > 0]
    if not found:
        return False
    earlier, later = random.choice(found)
    later.completed, earlier.completed = earlier.completed, later.completed
    return True


@fault("RAW", "WAR", "WAW")
def start_before_the_last_member(recording: Recording, random: Random) -> bool:
    for join in [each for each in recording if each.seq < 0]:
        members = [each for each in recording if join.seq in each.then]
        for seq in join.then:
            if recording.tasks[seq].started >= 0:
                last = max(members, key=lambda each: each.completed)
                last.completed = recording.tasks[seq].started + 1
                return True
    return False


# Accumulations.


def two_members(recording: Recording, random: Random) -> tuple[TaskRecord, TaskRecord] | None:
    """Two members of a group, in the order in which they ran, with none between."""
    found: list[tuple[TaskRecord, TaskRecord]] = []
    for join in [each for each in recording if each.seq < 0]:
        members = [each for each in recording if join.seq in each.then and each.started >= 0]
        members.sort(key=lambda each: each.started)
        found += pairwise(members)
    return random.choice(found) if found else None


@fault("accumulate")
def accumulations_overlap_in_position(recording: Recording, random: Random) -> bool:
    pair = two_members(recording, random)
    if pair is None:
        return False
    pair[0].completed = pair[1].started + 1
    return True


@fault("accumulate")
def accumulations_overlap_in_time(recording: Recording, random: Random) -> bool:
    pair = two_members(recording, random)
    if pair is None:
        return False
    assert pair[1].start is not None
    pair[0].end = pair[1].start + 1e-9
    return True


# Lives and lanes.


def ran(recording: Recording, random: Random) -> TaskRecord:
    """Some task that ran."""
    return random.choice([each for each in recording if each.started >= 0])


@fault("life")
def completion_lost(recording: Recording, random: Random) -> bool:
    ran(recording, random).completed = -1
    return True


@fault("life")
def completion_of_a_pending_task_lost(recording: Recording, random: Random) -> bool:
    record = ran(recording, random)
    record.completed, record.status = -1, "pending"
    return any(each.completed > record.finished for each in recording)


@fault("life")
def started_before_integrated(recording: Recording, random: Random) -> bool:
    record = ran(recording, random)
    record.integrated, record.started = record.started, record.integrated
    return True


@fault("life")
def finished_before_started(recording: Recording, random: Random) -> bool:
    record = ran(recording, random)
    record.finished, record.started = record.started, record.finished
    return True


@fault("life")
def completed_before_finished(recording: Recording, random: Random) -> bool:
    record = ran(recording, random)
    record.finished, record.completed = record.completed, record.finished
    return True


@fault("life")
def done_without_having_run(recording: Recording, random: Random) -> bool:
    ran(recording, random).started = -1
    return True


@fault("life")
def skipped_but_started(recording: Recording, random: Random) -> bool:
    ran(recording, random).status = random.choice(("skipped", "cancelled"))
    return True


@fault("life")
def never_integrated(recording: Recording, random: Random) -> bool:
    ran(recording, random).integrated = -1
    return True


@fault("life")
def started_twice(recording: Recording, random: Random) -> bool:
    """Two tasks of which one has the start of the other."""
    first, second = ran(recording, random), ran(recording, random)
    second.started = first.started
    return first is not second


@fault("life")
def ended_before_it_began(recording: Recording, random: Random) -> bool:
    record = ran(recording, random)
    record.start, record.end = record.end, record.start
    return True


@fault("order")
def integrated_out_of_order(recording: Recording, random: Random) -> bool:
    tasks = sorted((each for each in recording if each.seq > 0), key=lambda each: each.seq)
    place = random.randrange(len(tasks) - 1)
    first, second = tasks[place : place + 2]
    first.integrated, second.integrated = second.integrated, first.integrated
    return True


@fault("lane")
def lane_overcommitted_in_time(recording: Recording, random: Random) -> bool:
    spans = sorted(
        (each.start, each.end, each.seq)
        for each in recording
        if each.lane == "gpu:0/compute" and each.start is not None and each.end is not None
    )
    if len(spans) < 2:
        return False
    place = random.randrange(len(spans) - 1)
    recording.tasks[spans[place][2]].end = spans[place + 1][0] + 1e-9
    return True


@fault("lane")
def lane_overcommitted_in_position(recording: Recording, random: Random) -> bool:
    """Two tasks ran at once in a lane that has fewer workers than it was believed to have."""
    for record in recording:
        record.start = record.end = None
    recording.lanes["cpu:0/compute"] = LaneRecord(1)
    spans = sorted(
        (each.started, each.finished)
        for each in recording
        if each.lane == "cpu:0/compute" and each.started >= 0
    )
    return any(after[0] < before[1] for before, after in pairwise(spans))
