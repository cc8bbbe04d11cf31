"""A W&B backend on this machine: what the real client needs to log, resume, sync and save views.

    with backend(folder) as server:
        environment |= server.environment
        ...
        server.run("id").history

Standard library only. An operation it does not know is answered with an error and kept in
`server.unknown`, so that a test can say which one a newer client needs.
"""

import base64
import gzip
import json
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "local" + "0123456789" * 4
ENTITY = "lab"
_STREAM = re.compile(r"^/files/([^/]+)/([^/]+)/([^/]+)/file_stream$")
_OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


@dataclass
class Run:
    """What the server was told of one run."""

    project: str
    id: str
    upsert: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)
    """File name -> line number -> line."""
    inserts: int = 0
    complete: bool = False
    exit_code: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The logged rows in their order, keys of W&B itself left out."""
        rows = self.streams.get("wandb-history.jsonl", {})
        return [
            {key: value for key, value in json.loads(rows[n]).items() if not key.startswith("_")}
            for n in sorted(rows)
        ]

    @property
    def config(self) -> dict[str, Any]:
        """The last config without W&B's envelope."""
        tree = json.loads(self.upsert["config"])
        return {key: item["value"] for key, item in tree.items() if key != "_wandb"}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What `define_metric` declared, as the config tells it: key "1" is the name, "5" the
        number (from 1) of the step metric in this list."""
        found = json.loads(self.upsert["config"])["_wandb"]["value"].get("m", [])
        return [dict(item) for item in found]

    def node(self) -> dict[str, Any]:
        """As GraphQL shows it."""
        told, rows = self.upsert, self.streams.get("wandb-history.jsonl", {})
        summary = self.streams.get("wandb-summary.json", {})
        known = json.loads(told["config"]) if told.get("config") else {}
        return {
            "__typename": "Run", "id": base64.b64encode(f"Run:{self.id}".encode()).decode(),
            "name": self.id, "displayName": told.get("displayName") or self.id,
            "description": None, "config": told.get("config"), "sweepName": None,
            "project": {"id": "P", "name": self.project, "entity": {"id": "E", "name": ENTITY}},
            "historyLineCount": len(rows), "eventsLineCount": 0,
            "logLineCount": len(self.streams.get("output.log", {})),
            "summaryMetrics": summary[max(summary)] if summary else "{}",
            "historyTail": json.dumps([rows[max(rows)]] if rows else []), "eventsTail": "[]",
            "tags": told.get("tags") or [], "notes": told.get("notes"),
            "group": told.get("groupName"), "jobType": told.get("jobType"),
            "wandbConfig": json.dumps({"t": known.get("_wandb", {}).get("value", {}).get("t")}),
        }  # fmt: skip


class Server:
    """The state behind the requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        """Id -> input, file names, state."""
        self.views: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.port = 0
        self.hangs = threading.Event()
        """Set, requests get no reply until it is cleared."""
        self._lock = threading.RLock()

    @property
    def environment(self) -> dict[str, str]:
        """What points a W&B client here."""
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.port}", "WANDB_API_KEY": KEY}

    def run(self, run_id: str) -> Run:
        return self.runs[run_id]

    def artifact(self, prefix: str) -> dict[str, Any]:
        """The newest committed artifact whose name starts so."""
        return [
            each for each in self.artifacts.values()
            if each["state"] == "COMMITTED" and each["name"].startswith(prefix)
        ][-1]  # fmt: skip

    def stored(self, artifact: dict[str, Any], name: str) -> bytes:
        """A file of an artifact."""
        return (self.folder / "artifacts" / artifact["id"] / name).read_bytes()

    def manifest(self, artifact: dict[str, Any]) -> dict[str, Any]:
        """Name -> entry of an artifact's manifest."""
        path = self.folder / "artifacts" / artifact["id"] / "manifest.json"
        return dict(json.loads(path.read_bytes())["contents"])

    def stream(self, run_id: str, given: dict[str, Any]) -> dict[str, Any]:
        """Lines of a run's files."""
        with self._lock:
            run = self.runs[run_id]
            for name, part in (given.get("files") or {}).items():
                lines = run.streams.setdefault(name, {})
                lines.update(enumerate(part["content"], start=part["offset"]))
            if given.get("complete") is not None:
                run.complete, run.exit_code = given["complete"], given.get("exitcode")
        return {"exitcode": None, "limits": {}}

    def answer(self, query: dict[str, Any], host: str) -> dict[str, Any]:
        """The reply to a GraphQL request."""
        found = _OPERATION.search(query["query"])
        operation = query.get("operationName") or (found.group(1) if found else "?")
        handler = getattr(self, f"_{operation}", None)
        with self._lock:
            if handler is None:
                self.unknown.append(operation)
                return {"errors": [{"message": f"unknown operation {operation}"}], "data": None}
            return {"data": handler(query.get("variables") or {}, f"http://{host}/storage")}

    def _UpsertBucket(self, given: dict[str, Any], _: str) -> Any:
        name = given.get("name") or base64.b64decode(given["id"]).decode().split(":")[1]
        new = name not in self.runs
        run = self.runs.setdefault(name, Run(given.get("project") or "uncategorized", name))
        run.inserts += new
        run.upsert |= {key: value for key, value in given.items() if value is not None}
        return {"upsertBucket": {"bucket": run.node(), "inserted": new}}

    def _RunResumeStatus(self, given: dict[str, Any], _: str) -> Any:
        run = self.runs.get(given["name"])
        entity = {"id": "E", "name": ENTITY}
        bucket = run.node() if run else None
        return {"model": {"id": "P", "name": given["project"], "entity": entity, "bucket": bucket}}

    def _CreateRunFiles(self, given: dict[str, Any], storage: str) -> Any:
        files = [
            {"name": name, "uploadUrl": f"{storage}/files/{given['run']}/{_quoted(name)}"}
            for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _ServerFeaturesQuery(self, given: dict[str, Any], _: str) -> Any:
        return {"serverInfo": {"features": []}}

    def _Viewer(self, given: dict[str, Any], _: str) -> Any:
        viewer = {
            "id": "u", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "lab@local",
            "flags": "{}", "admin": False, "deletedAt": None, "apiKeys": {"edges": []},
            "teams": {"edges": [{"node": {"name": ENTITY}}]},
        }  # fmt: skip
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}}}

    _GetViewer = _DefaultEntity = _Viewer

    def _OrganizationCoreWeaveOrganizationID(self, given: dict[str, Any], _: str) -> Any:
        return {"organization": None}

    def _ArtifactType(self, given: dict[str, Any], _: str) -> Any:
        return {"project": None}

    def _CreateArtifact(self, given: dict[str, Any], _: str) -> Any:
        told = given["input"]
        made = {
            "id": f"A{len(self.artifacts)}", "name": told["artifactCollectionName"],
            "type": told["artifactTypeName"], "state": "PENDING", "input": told,
        }  # fmt: skip
        self.artifacts[made["id"]] = made
        sequence = {"id": f"S{made['id']}", "name": made["name"], "latestArtifact": None}
        artifact = {"id": made["id"], "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, given: dict[str, Any], storage: str) -> Any:
        return {"createArtifactManifest": _manifest(given["artifactID"], storage)}

    def _UpdateArtifactManifest(self, given: dict[str, Any], storage: str) -> Any:
        return {"updateArtifactManifest": _manifest(given["artifactManifestID"][1:], storage)}

    def _CreateArtifactFiles(self, given: dict[str, Any], storage: str) -> Any:
        edges = []
        for file in given["input"]["artifactFiles"]:
            place = f"artifacts/{file['artifactID']}/{file['name']}"
            node = {
                "id": "F", "name": file["name"], "storagePath": place, "uploadHeaders": [],
                "uploadUrl": f"{storage}/{_quoted(place)}", "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }  # fmt: skip
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, given: dict[str, Any], _: str) -> Any:
        made = self.artifacts[given["artifactID"]]
        made["state"] = "COMMITTED"
        artifact = {"id": made["id"], "digest": made["input"]["digest"]}
        return {"commitArtifact": {"artifact": artifact}}

    def _GetProjects(self, given: dict[str, Any], _: str) -> Any:
        page = {"endCursor": None, "hasNextPage": False, "__typename": "PageInfo"}
        nodes = [
            {"__typename": "Project", "id": "P", "internalId": "1", "name": name,
             "entityName": ENTITY, "createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False,
             "user": None}
            for name in sorted({run.project for run in self.runs.values()})
        ]  # fmt: skip
        edges = [{"cursor": "c", "node": node} for node in nodes]
        return {"models": {"pageInfo": page, "edges": edges}}

    def _ProjectInternalId(self, given: dict[str, Any], _: str) -> Any:
        return {"project": {"id": "UHJvamVjdDp2MTox", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}

    def _UpsertView2(self, given: dict[str, Any], _: str) -> Any:
        self.views.append({**given, "spec": json.loads(given["spec"])})
        project = {"id": "P", "name": given.get("projectName"), "entityName": ENTITY}
        view = {
            "id": f"v{len(self.views)}", "name": given.get("name"), "description": "",
            "displayName": given.get("displayName"), "project": project, "updatedAt": None,
            "spec": given["spec"],
        }  # fmt: skip
        return {"upsertView": {"view": view, "inserted": True}}

    _UpsertView = _upsertView = _UpsertView2


def _manifest(artifact: str, storage: str) -> dict[str, Any]:
    file = {
        "id": f"F{artifact}", "uploadUrl": f"{storage}/artifacts/{artifact}/manifest.json",
        "uploadHeaders": [],
    }  # fmt: skip
    return {"artifactManifest": {"id": f"M{artifact}", "file": file}}


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="/")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        while self.state.hangs.is_set():
            time.sleep(0.05)
        body = json.loads(self._body() or b"{}")
        stream = _STREAM.match(self.path)
        if "query" not in body and not stream:
            self.state.unknown.append(f"{self.path} {str(body)[:300]}")
            self._send({}, 404)
        elif stream:
            self._send(self.state.stream(urllib.parse.unquote(stream.group(3)), body))
        else:
            reply = self.state.answer(body, self.headers["host"])
            self._send(reply, 400 if "errors" in reply else 200)

    def do_PUT(self) -> None:
        place = urllib.parse.unquote(self.path.removeprefix("/storage/").split("?")[0])
        path = self.state.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._body())
        self._send({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def _send(self, reply: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Http(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client may go at any moment; anything else is a fault of this file."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.RequestHandlerClass.state.unknown.append(repr(error))


@contextmanager
def backend(folder: Path, state: Server | None = None) -> Iterator[Server]:
    """A server on a free port of this machine, gone at the end of the block.

    With `state` it is one that was gone, and has come back with what it had.
    """
    state = state or Server(folder)
    handler = type("Handler", (_Handler,), {"state": state})
    with _Http(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        state.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.hangs.clear()
            http.shutdown()
            thread.join()
