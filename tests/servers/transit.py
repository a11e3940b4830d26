"""The transit engine of Vault and OpenBao for the tests: no server of theirs is in the package registries, so this stands in.

It follows the HTTP API as both document it ("Transit secrets engine (API)", "AppRole auth method (API)"): versions of a key and what is
written before a ciphertext, associated data, the bounds that `config` and `trim` keep to, the texts of refusals, a sealed server.

POST /control/ACTION[/ARGUMENT] is for the tests: create, delete, seal, unseal, token, revoke, role, state, snapshot, restore.
Prints its port, and ends when its standard input does.
"""

import base64
import copy
import json
import os
import secrets
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MOUNT = "transit"
keys, tokens, roles, snapshots = {}, set(), {}, {}
state = {"sealed": False}
lock = threading.Lock()


class Refused(Exception):
    def __init__(self, status, *errors):
        super().__init__(status)
        self.status, self.errors = status, errors


def new_key():
    return {"versions": {1: secrets.token_bytes(32)}, "latest": 1, "decrypt": 1, "encrypt": 0, "available": 0}


def about(name, key):
    return {
        "name": name, "type": "aes256-gcm96", "keys": {str(version): 1700000000 for version in key["versions"]},
        "latest_version": key["latest"], "min_decryption_version": key["decrypt"], "min_encryption_version": key["encrypt"],
        "min_available_version": key["available"], "derived": False, "exportable": False, "supports_encryption": True,
    }


def decoded(body, member):
    try:
        return base64.b64decode(body.get(member, ""), validate=True)
    except ValueError:
        raise Refused(400, f"failed to base64-decode {member}")


def encrypt(name, key, body):
    plain, bound = decoded(body, "plaintext"), decoded(body, "associated_data")
    nonce = secrets.token_bytes(12)
    sealed = nonce + AESGCM(key["versions"][key["latest"]]).encrypt(nonce, plain, bound)
    return {"ciphertext": f"vault:v{key['latest']}:{base64.b64encode(sealed).decode()}", "key_version": key["latest"]}


def decrypt(name, key, body):
    text, bound = body.get("ciphertext", ""), decoded(body, "associated_data")
    if not text.startswith("vault:v") or text.count(":") != 2:
        raise Refused(400, "invalid ciphertext: no prefix")
    version, sealed = text.removeprefix("vault:v").split(":")
    version, sealed = int(version), base64.b64decode(sealed)
    if version > key["latest"]:
        raise Refused(400, "invalid ciphertext: version is too new")
    if version < key["decrypt"]:
        raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
    try:
        plain = AESGCM(key["versions"][version]).decrypt(sealed[:12], sealed[12:], bound)
    except InvalidTag:
        raise Refused(400, "invalid ciphertext: unable to decrypt")
    return {"plaintext": base64.b64encode(plain).decode()}


def rotate(name, key, body):
    key["latest"] += 1
    key["versions"][key["latest"]] = secrets.token_bytes(32)
    return about(name, key)


def config(name, key, body):
    decryption, encryption = body.get("min_decryption_version", key["decrypt"]), body.get("min_encryption_version", key["encrypt"])
    if max(decryption, encryption) > key["latest"]:
        raise Refused(400, f"cannot set min decryption version of {decryption}, latest key version is {key['latest']}")
    if 0 < encryption < decryption:
        raise Refused(400, "cannot set min encryption/decryption values")
    if key["available"] > min(decryption, encryption):
        raise Refused(400, "min encryption version should not be less than min available version")
    key["decrypt"], key["encrypt"] = max(decryption, 1), encryption
    return about(name, key)


def trim(name, key, body):
    least = body.get("min_available_version", 0)
    if least < key["available"]:
        raise Refused(400, "minimum available version cannot be decremented")
    if key["encrypt"] == 0:
        raise Refused(400, "minimum available version cannot be set when minimum encryption version is not set")
    if least > key["encrypt"] or least > key["decrypt"]:
        raise Refused(400, "minimum available version cannot be greater than minmum encryption version")
    if least <= 0:
        raise Refused(400, "minimum available version should be positive")
    key["available"] = least
    key["versions"] = {version: value for version, value in key["versions"].items() if version >= least}
    return about(name, key)


def answer(method, path, token, body):
    if state["sealed"]:
        raise Refused(503, "Vault is sealed")
    if path == "auth/approle/login" and method == "POST":
        if roles.get(body.get("role_id")) != body.get("secret_id") or not body.get("secret_id"):
            raise Refused(400, "invalid role or secret ID")
        made = "hvs." + secrets.token_hex(8)
        tokens.add(made)
        return {"auth": {"client_token": made, "lease_duration": 3600, "renewable": True}}
    if token not in tokens:
        raise Refused(403, "permission denied")
    parts = path.split("/")
    if parts[0] != MOUNT:
        raise Refused(404, f'no handler for route "{path}". route entry not found.')
    if len(parts) == 3 and parts[1] in ("encrypt", "decrypt") and method == "POST":
        work, name = {"encrypt": encrypt, "decrypt": decrypt}[parts[1]], parts[2]
        if name not in keys:
            # With `update` alone a token may not make the key by the way.
            raise Refused(403, "permission denied") if work is encrypt else Refused(400, "encryption key not found")
        return {"data": work(name, keys[name], body)}
    if parts[1] == "keys" and len(parts) == 3 and method == "GET":
        if parts[2] not in keys:
            raise Refused(404)
        return {"data": about(parts[2], keys[parts[2]])}
    if parts[1] == "keys" and len(parts) == 4 and method == "POST":
        if parts[2] not in keys:
            raise Refused(400, f"no existing key named {parts[2]} could be found")
        return {"data": {"rotate": rotate, "config": config, "trim": trim}[parts[3]](parts[2], keys[parts[2]], body)}
    raise Refused(405, "unsupported operation")


def control(action, argument):
    if action == "create":
        keys[argument] = new_key()
    elif action == "delete":
        del keys[argument]
    elif action in ("seal", "unseal"):
        state["sealed"] = action == "seal"
    elif action == "token":
        tokens.add(argument)
    elif action == "revoke":
        tokens.clear() if argument == "all" else tokens.discard(argument)
    elif action == "role":
        name, secret = argument.split("/")
        roles[name] = secret
    elif action == "snapshot":
        snapshots[argument] = copy.deepcopy(keys)
    elif action == "restore":
        keys.clear()
        keys.update(copy.deepcopy(snapshots[argument]))
    elif action == "state":
        return about(argument, keys[argument])
    return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self):
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        path = urllib.parse.unquote(self.path)
        with lock:
            try:
                if path.startswith("/control/"):
                    _, _, action, *argument = path.split("/", 3)
                    status, said = 200, control(action, *(argument or [""]))
                else:
                    body = json.loads(raw or b"{}")
                    status, said = 200, answer(self.command, path.removeprefix("/v1/"), self.headers.get("X-Vault-Token"), body)
            except Refused as refused:
                status, said = refused.status, {"errors": list(refused.errors)}
        text = json.dumps({"request_id": secrets.token_hex(8), "warnings": None, **said}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = reply

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
