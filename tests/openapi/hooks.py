"""What schemathesis has to know of a vault beside its description: who may call what, and words of the demo's policy.

Only requests that are meant to be good are touched; what is meant to be refused goes out as it was made.
"""

import json
import os
import random

import schemathesis
from schemathesis.generation import GenerationMode

with open(os.environ["OUBLIETTE_DEMO"], encoding="utf-8") as file:
    TOKENS = json.load(file)["tokens"]

# The callers of a demo, in the order in which they are tried for an operation; a second officer approves.
CALLERS = ["writer", "reader", "privacy_officer", "key_admin", "policy_author", "security_officer", "auditor"]
CLAIMED = {"getErasure", "getRequestResult"}
BATCHES = {"createSubjects", "writeRecords"}
APPROVALS = {"approveErasure", "approveCase", "approveRestriction"}
PURPOSES = {
    "createSubject": "a-account",
    "createSubjects": "a-account",
    "lookupSubject": "b-service",
    "writeRecord": "a-account",
    "writeRecords": "a-account",
    "readRecords": "b-service",
    "rectifyRecord": "a-account",
    "queryRecords": "b-service",
    "verifySecret": "a-account",
    "disclose": "b-delivery",
    "readStats": "h-efficiency",
    "getRequestResult": "x-rights",
}
NOTICE = {"policy_version": "current", "language": "de", "channel": "web", "shown_at": "2026-11-01T10:00:00Z"}


def is_good(case):
    return case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.auth(refresh_interval=None)
class ByRole:
    """The token of a caller whose role may call the operation."""

    def get(self, case, context):
        definition = context.operation.definition.raw
        if definition.get("operationId") in APPROVALS:
            return TOKENS["privacy_officer_2"]
        roles = definition.get("x-roles", {})
        callers = [caller for caller in CALLERS if roles.get(caller) not in (None, "own")]
        return TOKENS[callers[0]] if callers else TOKENS["writer"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


def known_words(operation, body):
    """The same body, with words of the demo's policy where the schema leaves them free."""
    if operation in ("createSubject", "createSubjects"):
        body["class"], body["jurisdiction"], body["notice"] = "consumer", "DE", dict(NOTICE)
        body["aliases"] = [{"type": "email", "value": f"person{random.getrandbits(64)}@example.org"}]
        for name in ("region", "guardian", "guardian_consent", "birth_date", "age_band"):
            body.pop(name, None)
    elif operation in ("writeRecord", "writeRecords"):
        record = body.get("record", body)
        record["purposes"], record["kind"] = ["a-account", "b-service"], "contact"
        record["fields"] = {"name": "Ada", "email": "ada@example.org", "phone": "+49 30 1234567"}
        for name in ("source", "collected_at", "verified_at"):
            record.pop(name, None)
    elif operation == "rectifyRecord":
        body["fields"] = {"name": "Ada Lovelace"}
        for name in ("evidence", "verified_at", "request"):
            body.pop(name, None)
    elif operation == "recordConsent":
        body["purpose"], body["kind"], body["notice"] = "c-marketing", "general", dict(NOTICE)
        for name in ("until", "extend_retention_until", "evidence"):
            body.pop(name, None)
    elif operation == "openErasure":
        if body.get("scope") == "groups":
            body["groups"] = ["marketing"]
        body.pop("request", None)
    elif operation == "restrictSubject":
        body.update(purposes=[], exceptions=[], records=[], reason="a-reason", case="a-case")
        body["review_at"] = "2030-01-01T00:00:00Z"
    elif operation == "openRequest":
        for name in ("record", "evidence"):
            body.pop(name, None)
        body.update(fields=[], purposes=[], restrict=False)
    elif operation == "queryRecords":
        body.pop("cursor", None)
    elif operation == "putContract":
        body.update({"from": "2026-01-01", "until": None})
    elif operation == "putCaller":
        body.update(name="somebody", roles=["reader"], purposes=["b-service"])
        for name in ("region", "source", "partner", "external", "certificate", "trained_at"):
            body.pop(name, None)
    return body


def would_end_the_test(body):
    """A sealed vault, and one whose root key turned over, answer nothing more to anybody."""
    return isinstance(body, dict) and body.get("operation") in ("seal", "rotate-root")


@schemathesis.hook
def filter_case(context, case):
    # Lines are refused one by one: as a text there is none that is wrong as a whole.
    is_wrong_text = case.media_type == "application/x-ndjson" and not is_good(case)
    return not is_wrong_text and not would_end_the_test(case.body)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    operation = case.operation.definition.raw.get("operationId")
    # A claim code that is wrong finds nothing, and is told so like anybody else who may not know. A wrong token is 401.
    if operation in CLAIMED and "invalid credentials" in failure.message and "`404 " in failure.message:
        return False
    # A batch is answered whatever becomes of its items: each of them is refused on its own.
    return not (operation in BATCHES and response.status_code == 200 and is_refused_by_item(case, response))


def is_refused_by_item(case, response):
    """Whether a batch that is wrong was told so where it is wrong."""
    wrong = not is_good(case) or "Vault-Purpose" not in response.request.headers
    return wrong and any(item["status"] >= 400 for item in response.json()["items"])


@schemathesis.hook
def before_call(context, case, kwargs):
    if would_end_the_test(case.body):
        case.body = {"operation": "rotate-epoch"}
    if not is_good(case):
        return
    operation = case.operation.definition.raw.get("operationId")
    headers = case.headers
    if operation in PURPOSES:
        headers["Vault-Purpose"] = PURPOSES[operation]
    # What the words of these mean is another matter than their form.
    for name in ("Vault-Contract", "Vault-Rule", "Vault-Case", "Idempotency-Key"):
        headers.pop(name, None)
    # A cursor is only ever one that this vault gave.
    if case.query:
        case.query.pop("cursor", None)
    # What is overdue is asked for alone.
    if operation == "listDisclosures" and "overdue" in case.query:
        case.query = {"overdue": case.query["overdue"]}
    if isinstance(case.body, dict):
        case.body = known_words(operation, dict(case.body))
    elif isinstance(case.body, list):
        case.body = [known_words(operation, dict(item)) if isinstance(item, dict) else item for item in case.body]


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    text = value if isinstance(value, str) else json.dumps(value)
    return {"data": text.encode("utf-8", "surrogatepass")}
