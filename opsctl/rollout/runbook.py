"""Which section of the documentation tells what to do about how a rollout or a host of it stands. Pure.

A test holds every section to be there.
"""

from __future__ import annotations

from opsctl.model.approval import SECOND_PERSON
from opsctl.model.rollout import HostState, RolloutState, Stage, Status

PAGE = "docs/how-to/patch-night.md"
FAILED, UNKNOWN, DRAINED = "a-host-failed", "a-host-is-unknown", "a-host-is-still-drained"
SKIPPED, WAITS, WINDOW = "a-host-was-skipped", "a-host-waits-for-its-cluster", "the-window-is-over"
GATE, NO_ANSWER = "a-gate-has-failed", "a-gate-gave-no-answer"
MONITORING, SOAK = "monitoring-does-not-answer", "a-wave-soaks"
GO_ON, PAUSED, ABORTED, START = "go-on", "you-want-to-stop-it", "you-give-it-up", "in-the-window-start"
APPROVAL = "a-second-person"
SECTIONS = (
    FAILED, UNKNOWN, DRAINED, SKIPPED, WAITS, WINDOW, GATE, NO_ANSWER, MONITORING, SOAK, GO_ON, PAUSED, ABORTED, START,
    APPROVAL,
)  # fmt: skip
# Words of the reasons with which a rollout stops, and the section for each; the first that fits.
_BY_WORDS = (
    ("pause asked by", PAUSED),
    ("monitoring does not answer", MONITORING),
    (" soaks until ", SOAK),
    (" gave no answer", NO_ANSWER),
    ("health could not be read", NO_ANSWER),
    (" failed: ", GATE),
    ("failure budget", FAILED),
    ("health: ", FAILED),
    ("still drained", DRAINED),
    ("state unknown", UNKNOWN),
    (SECOND_PERSON, APPROVAL),
    ("in service", WAITS),
    ("is its cluster's primary", WAITS),
    ("outside its window", WINDOW),
    ("min left until", WINDOW),
    ("freeze ", WINDOW),
)


def page(section: str) -> str:
    """Where to read, as messages name it."""
    return f"{PAGE}#{section}"


def of_rollout(state: RolloutState, *, stalled: bool = False) -> str:
    """The section for how a rollout stands; empty where nothing is to be done about it."""
    if stalled or state.status is Status.INTERRUPTED:
        return GO_ON
    if state.status is Status.ABORTED:
        return ABORTED
    if state.status in (Status.PAUSED, Status.HALTED):
        return next((section for words, section in _BY_WORDS if words in state.reason), GO_ON)
    if state.status is Status.DONE and state.count(Stage.FAILED):
        return FAILED
    return START if state.status is Status.PLANNED else ""


def of_host(host: HostState) -> str:
    """The section for one host; empty where it is as it should be, or waits for its rollout."""
    if host.stage is Stage.UNKNOWN:
        return UNKNOWN
    if host.drained and host.resting:
        return DRAINED
    return {Stage.FAILED: FAILED, Stage.SKIPPED: SKIPPED}.get(host.stage, "")
