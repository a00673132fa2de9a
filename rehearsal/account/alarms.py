"""CloudWatch alarms: MiniStack describes them in full to clients of the JSON protocol alone."""

import json
from collections.abc import Mapping
from typing import Any

from rehearsal.account.mending import OK, Mends, ministack
from rehearsal.account.query import nested, text, timestamp, xml

_cloudwatch = ministack("services.cloudwatch")
mend = Mends()


@mend.replaces(_cloudwatch, "_put_metric_alarm")
def keep_all(original: Any, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """An alarm keeps its actions for insufficient data, and its expression instead of one metric.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    answer = original(params, cbor_data, is_cbor, is_json)
    if answer[0] != OK:
        return answer
    asked = cbor_data if is_cbor or is_json else nested(params)
    alarm = _cloudwatch._alarms[asked["AlarmName"] if is_cbor or is_json else text(params, "AlarmName")]
    alarm["InsufficientDataActions"] = asked.get("InsufficientDataActions", [])
    for key in ("ThresholdMetricId", "EvaluateLowSampleCountPercentile", "Metrics"):
        if asked.get(key):
            alarm[key] = asked[key]
    if asked.get("Metrics"):
        for key in ("Period", "Statistic", "MetricName", "Namespace"):
            alarm.pop(key, None)
    if alarm.get("ExtendedStatistic"):
        alarm.pop("Statistic", None)
    return answer


@mend.replaces(_cloudwatch, "_describe_alarms")
def describe_all(original: Any, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """Clients of the Query protocol get alarms in full too.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
    """
    if is_cbor or is_json:
        return original(params, cbor_data, is_cbor, is_json)
    asked = nested(params)
    status, _, body = original({}, asked, False, True)
    if status != OK:
        return original(params, cbor_data, is_cbor, is_json)
    answer = xml({"DescribeAlarmsResult": _wire(json.loads(body))})
    return _cloudwatch._xml(200, "DescribeAlarmsResponse", answer)


def _wire(value: Any) -> Any:
    """Moments as XML has them, and what is not set left out."""
    if isinstance(value, Mapping):
        return {
            key: timestamp(each) if key.endswith("Timestamp") and isinstance(each, int | float) else _wire(each)
            for key, each in value.items()
            if each not in (None, "")
        }
    return [_wire(each) for each in value] if isinstance(value, list) else value
