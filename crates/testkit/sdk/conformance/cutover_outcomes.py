"""A pytest plugin: writes what became of each test, and takes arguments out of requests.

Environment:
  CUTOVER_OUTCOMES  the file to write: one JSON object per test, {"id", "ok", "detail"}; ok is null for
                    a test that was skipped
  CUTOVER_WITHOUT   members to take out of each request body before it is sent: a JSON list of names.
                    The tests are the vendor's; this lets those run whose request has, among thirty
                    members, three that cutover refuses on purpose
  CUTOVER_ADD       members to add where a body lacks them: a JSON object
"""

import importlib
import json
import os

OUTCOMES = open(os.environ["CUTOVER_OUTCOMES"], "w", encoding="utf-8")
WITHOUT = json.loads(os.environ.get("CUTOVER_WITHOUT", "[]"))
ADD = json.loads(os.environ.get("CUTOVER_ADD", "{}"))


def pytest_runtest_logreport(report):
    if report.when != "call" and report.passed:
        return
    detail = ""
    if report.failed and hasattr(report.longrepr, "reprcrash"):
        detail = report.longrepr.reprcrash.message.split("\n")[0][:400]
    elif report.failed:
        detail = str(report.longrepr)[-400:]
    ok = None if report.skipped else report.passed
    OUTCOMES.write(json.dumps({"id": report.nodeid, "ok": ok, "detail": detail}) + "\n")
    OUTCOMES.flush()


def narrow(package):
    """Every request of these SDKs, blocking or not, is built in one place."""
    try:
        client = importlib.import_module(f"{package}._base_client").BaseClient
    except ImportError:
        return
    build = client._build_request

    def build_narrowed(self, options, **keywords):
        body = options.json_data
        if isinstance(body, dict) and options.method.lower() == "post":
            body = {key: value for key, value in body.items() if key not in WITHOUT}
            for key, value in ADD.items():
                body.setdefault(key, value)
            options.json_data = body
        return build(self, options, **keywords)

    client._build_request = build_narrowed


if WITHOUT or ADD:
    for name in ("openai", "anthropic"):
        narrow(name)
