import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[3] / "tools" / "audit.py"
LOCK = f"one==1.0 \\\n    --hash=sha256:{'a' * 64}\ntwo==2.0 \\\n    --hash=sha256:{'b' * 64}\n"
ADVISORY = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1"],
    "affected": [
        {
            "package": {"name": "two", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
        }
    ],
}


class Service(http.server.BaseHTTPRequestHandler):
    """An advisory service as OSV is: of ``two`` it knows ``advisories``."""

    status, advisories = 200, []

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        vulnerable = query["package"]["name"] == "two" and self.advisories
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": self.advisories} if vulnerable else {}).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def run(tmp_path):
    """Audit a lock file against a service with these answers; ``None``: one that is not there."""
    servers = []

    def run(lock=LOCK, *options, **answers):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Service,), answers))
        servers.append(server)
        if answers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            server.server_close()
        path = tmp_path / "lock.txt"
        path.write_text(lock)
        url = f"http://127.0.0.1:{server.server_port}/"
        service = ["--vulnerability-service=osv", "--osv-url", url, "--cache-dir", tmp_path / "cache"]
        return subprocess.run(
            [sys.executable, AUDIT, path, "--", *service, *options], capture_output=True, text=True, check=False
        )

    yield run
    for server in servers:
        server.shutdown() if server.socket.fileno() >= 0 else None
        server.server_close()


def test_no_advisory_passes(run):
    done = run(status=200)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 releases checked, 0 vulnerabilities" in done.stdout


def test_a_vulnerability_fails_and_is_named_with_its_fix(run):
    done = run(advisories=[ADVISORY])
    assert done.returncode == 1
    assert "two 2.0: PYSEC-1 = CVE-1 (fixed in 2.1)" in done.stdout


def test_an_accepted_one_passes(run):
    done = run(LOCK, "--ignore-vuln=CVE-1", advisories=[ADVISORY])
    assert (done.returncode, "0 vulnerabilities" in done.stdout) == (0, True)


@pytest.mark.parametrize("answers", [{}, {"status": 500}, {"status": 403}], ids=["absent", "failing", "refusing"])
def test_a_service_that_does_not_answer_is_reported_as_skipped(run, answers):
    done = run(**answers)
    assert done.returncode == 0, done.stderr
    assert "skipped: the advisory service does not answer" in done.stdout
    assert "releases checked" not in done.stdout


def test_a_lock_file_that_cannot_be_read_fails(run):
    done = run("one>=1.0\n", status=200)
    assert done.returncode == 1
    assert "skipped" not in done.stdout
