"""AWS KMS for the tests: moto's server, which keeps keys and really encrypts, and around it what moto leaves out.

- A signature (SigV4) is computed once more by botocore, AWS's own, and compared. Unknown, wrong and forbidden credentials are refused as AWS does.
- A key that is disabled or waits for its deletion encrypts and decrypts nothing.

POST /control/ACTION[/KEY] is for the tests: create, disable, enable, schedule, cancel, delete, forbid, allow, calls.
Prints its port, and ends when its standard input does.
"""

import json
import os
import sys
import threading
import urllib.parse

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.kms.models import kms_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-central-1"
SECRETS = {"AKIDVAULT": "the/secret+of the vault", "AKIDOTHER": "somebody else's"}
backend = kms_backends["123456789012"][REGION]
forbidden = set()
calls = []
application = DomainDispatcherApplication(create_backend_app)


def refused(status, kind):
    return status, json.dumps({"__type": kind, "message": "said by the stand-in"})


def judge(environ, body):
    """None when the call may go on, else an answer."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return refused(400, "MissingAuthenticationTokenException")
    parts = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
    who, day, region, service, _ = parts["Credential"].split("/")
    if who not in SECRETS:
        return refused(400, "UnrecognizedClientException")
    names = parts["SignedHeaders"].split(";")
    stamp = environ.get("HTTP_X_AMZ_DATE", "")
    sent = {"content-type": environ.get("CONTENT_TYPE", "")}
    for name in names:
        sent.setdefault(name, environ.get("HTTP_" + name.upper().replace("-", "_"), ""))
    url = f"http://{environ['HTTP_HOST']}{environ['PATH_INFO']}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, data=body, headers={name: sent[name] for name in names})
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(who, SECRETS[who]), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if signer.signature(text, request) != parts["Signature"] or not stamp.startswith(day):
        return refused(400, "InvalidSignatureException")
    if region != REGION or service != "kms" or not {"host", "x-amz-date", "x-amz-target"} <= set(names):
        return refused(400, "IncompleteSignatureException")
    operation = environ.get("HTTP_X_AMZ_TARGET", "").removeprefix("TrentService.")
    asked = json.loads(body or b"{}")
    calls.append({"operation": operation, **asked})
    if who in forbidden:
        return refused(400, "AccessDeniedException")
    if operation in ("Encrypt", "Decrypt"):
        try:
            key = backend.keys[backend.any_id_to_key_id(asked["KeyId"])]
        except Exception:
            return refused(400, "NotFoundException")
        if key.key_state == "Disabled":
            return refused(400, "DisabledException")
        if key.key_state != "Enabled":
            return refused(400, "KMSInvalidStateException")
    return None


def control(action, key):
    if action == "create":
        made = backend.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "test", [])
        return {"arn": made.arn}
    if action == "calls":
        return {"calls": calls}
    if action in ("forbid", "allow"):
        (forbidden.add if action == "forbid" else forbidden.discard)(key)
        return {}
    name = key.rsplit("/", 1)[-1]
    if action == "delete":
        del backend.keys[name]
    elif action == "schedule":
        backend.schedule_key_deletion(name, 7)
    else:
        {"disable": backend.disable_key, "enable": backend.enable_key, "cancel": backend.cancel_key_deletion}[action](name)
    return {}


def serve(environ, start):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    path = environ["PATH_INFO"]
    if path.startswith("/control/"):
        _, _, action, *key = urllib.parse.unquote(path).split("/", 3)
        status, answer = 200, json.dumps(control(action, *(key or [""])))
    else:
        judged = judge(environ, body)
        if judged is None:
            import io

            environ["wsgi.input"] = io.BytesIO(body)
            return application(environ, start)
        status, answer = judged
    start(f"{status} -", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer.encode()]


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


server = make_server("127.0.0.1", 0, serve, threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
