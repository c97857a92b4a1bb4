"""Hooks of Schemathesis: what every error of a gateway must be, and a model that is served.

Environment:
  CUTOVER_MODEL   the model that requests ask for, where they ask for one by a text
  CUTOVER_TALLY   a file that gets one line per answer: its status
"""

import os

import schemathesis

MODEL = os.environ["CUTOVER_MODEL"]
TALLY = open(os.environ["CUTOVER_TALLY"], "a", encoding="utf-8")


@schemathesis.hook
def map_body(context, body):
    # A random name is a 404 before anything else is read.
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = MODEL
    return body


@schemathesis.check
def errors_are_told_as_the_vendor_tells_them(ctx, response, case):
    TALLY.write(f"{response.status_code}\n")
    TALLY.flush()
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    error = response.json()["error"]
    keys = {"message", "type", "param", "code"}
    assert keys <= set(error), f"an error without {keys - set(error)}: {error}"
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
