"""The body of a webhook as plain data, whatever was sent: what cannot be read is said in a sentence."""

import json
from typing import Any

import orjson

from bot.contracts import Malformed
from bot.incident.redact import storable


def read_json(body: bytes) -> Any:
    """The JSON value in `body`, its texts fit to be stored. Raises Malformed with where it is wrong."""
    try:
        value = _parsed(body)
        # Only an escape can spell what no database takes, so nearly every body is left as it is.
        return _storable(value) if b"\\u" in body else value
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:
        raise Malformed("the body holds a number of too many digits") from error
    except RecursionError as error:
        raise Malformed("the body is nested too deeply") from error


def _parsed(body: bytes) -> Any:
    """What the fast parser does not take, the patient one may: it knows half characters, and says where it stopped."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body.decode("utf-8"))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _storable(item) for key, item in value.items()}
    return value
