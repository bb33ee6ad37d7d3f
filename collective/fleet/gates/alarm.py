"""A gate on a CloudWatch alarm of this account and region: it is open in the state OK only."""

from __future__ import annotations

from typing import Any

from collective.errors import CollectiveError
from collective.fleet.gates import GateView

_OPEN = "OK"


class AlarmGate:
    """A metric alarm or a composite alarm by name. Needs the permission cloudwatch:DescribeAlarms."""

    unattended = True

    def __init__(self, alarm: str) -> None:
        self.name = f"alarm:{alarm}"
        self._alarm = alarm
        self._client: Any = None

    def check(self, view: GateView) -> str:  # noqa: ARG002 - an alarm is about more than the replies
        """Return the state of the alarm unless it is OK; an alarm without data is not OK."""
        from collective.aws.errors import translated
        from collective.aws.session import AWS

        try:
            self._client = self._client or AWS().client("cloudwatch")
            with translated(f"alarm '{self._alarm}'", "alarm"):
                found = self._client.describe_alarms(
                    AlarmNames=[self._alarm], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
                )
                alarms = [*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())]
                states = [str(alarm["StateValue"]) for alarm in alarms if alarm["AlarmName"] == self._alarm]
        except CollectiveError as error:
            return str(error)
        if not states:
            return "the alarm does not exist"
        return "" if states == [_OPEN] else f"the alarm is in the state {states[0]}"
