"""A W&B server on the loopback that keeps what `wandb sync` sends: runs, and the lines of their history."""

from __future__ import annotations

import gzip
import json
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """runs: by id, what was said of each; lines: run id -> file -> lines at their places."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, dict[str, dict[int, str]]] = {}
        self.bodies: list[bytes] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def handle(self) -> None:
                with suppress(ConnectionResetError):  # the client is done
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                server.bodies.append(body)
                content = json.dumps(server.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be gone."""
        self.server.shutdown()
        self.server.server_close()

    def history(self, run: str) -> list[dict[str, Any]]:
        """A run's rows in the order of their lines."""
        lines = self.lines[run].get("wandb-history.jsonl", {})
        assert sorted(lines) == list(range(len(lines)))
        return [json.loads(lines[place]) for place in sorted(lines)]

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """What one request is told."""
        if path.endswith("/graphql"):
            asked = json.loads(body)
            return {"data": self.query(asked["query"], asked.get("variables") or {})}
        if found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            for name, part in (json.loads(body).get("files") or {}).items():
                kept = self.lines.setdefault(found[1], {}).setdefault(name, {})
                for place, line in enumerate(part["content"], part["offset"]):
                    kept[place] = line
            return {"exitcode": None, "limits": {}}
        return {}

    def query(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query."""
        name = str(given.get("name"))
        project = {"id": "P", "name": given.get("project"), "entity": {"id": "E", "name": "me"}}
        if "RunResumeStatus" in query:
            if name not in self.runs:
                return {"model": None}
            lines = self.lines.get(name, {})
            counts = {
                "historyLineCount": len(lines.get("wandb-history.jsonl", {})),
                "eventsLineCount": len(lines.get("wandb-events.jsonl", {})),
                "logLineCount": 0,
            }
            tail = json.dumps([line for _, line in sorted(lines.get("wandb-history.jsonl", {}).items())][-1:])
            bucket = {
                **{"id": name, "name": name, "displayName": name, "config": "{}", "summaryMetrics": "{}", "tags": []},
                **{"notes": "", "historyTail": tail, "eventsTail": "[]", "wandbConfig": '{"t": {}}', **counts},
            }
            return {"model": {**project, "bucket": bucket}}
        if "UpsertBucket" in query:
            kept = self.runs.setdefault(name, {})
            kept.update({key: value for key, value in given.items() if value is not None})
            bucket = {"id": name, "name": name, "displayName": name, "config": "{}", "sweepName": None}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0, "project": project}, "inserted": True}}
        if "CreateRunFiles" in query:
            files = [{"name": file, "uploadUrl": f"{self.url}/storage/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": given.get("run"), "uploadHeaders": [], "files": files}}
        if "CreateArtifact" in query:  # a table: it is known already
            artifact = {"id": "A", "state": "COMMITTED", "digest": given.get("digest")}
            sequence = {"id": "S", "latestArtifact": {"id": "A", "versionIndex": 0}}
            return {"createArtifact": {"artifact": {**artifact, "artifactSequence": sequence}}}
        viewer = {"id": "V", "entity": "me", "username": "me", "flags": "{}", "email": "", "teams": {"edges": []}}
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None, "features": []}}
