import http.server
import importlib.util
import json
import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
spec = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
audit = importlib.util.module_from_spec(spec)
sys.modules["audit"] = audit
spec.loader.exec_module(audit)

A, B = "a" * 64, "b" * 64
LOCK = f"""
one==1.0 \\
    --hash=sha256:{A}
    # via two
Two-More==2.0 ; python_version < '3.12' \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
"""
SOUND = {"vulnerabilities": [], "urls": [{"digests": {"sha256": h}, "yanked": False} for h in (A, B)]}
BAD = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": ["2.1"], "withdrawn": None}


@contextmanager
def index(answers):
    """A server with answers: path -> (status, JSON)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, said = answers.get(self.path, (404, {}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(one=(200, SOUND), two=(200, SOUND), accepted=()):
    with index({"/pypi/one/1.0/json": one, "/pypi/two-more/2.0/json": two}) as root:
        return audit.audit(audit.pins(LOCK), audit.asker(root), dict(accepted))


def test_pins():
    assert audit.pins(LOCK) == [
        audit.Pin("one", "1.0", frozenset([A])),
        audit.Pin("two-more", "2.0", frozenset([A, B])),
    ]


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "parity.txt", "build.txt"])
def test_every_pin_of_the_lock_files_is_read_with_its_hashes(name):
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    locked = audit.pins(text)
    assert len(locked) == len(re.findall(r"^\S+==", text, re.M)) > 0
    assert all(pin.hashes for pin in locked)


def test_nothing_found():
    assert run() == (audit.OK, ["2 of 2 releases asked about, 0 findings"])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({**SOUND, "vulnerabilities": [BAD]}, "two-more 2.0: PYSEC-1 = CVE-1 (mended in 2.1)"),
        ({**SOUND, "urls": [{**f, "yanked": True, "yanked_reason": "broken"} for f in SOUND["urls"]]}, "broken"),
        ({**SOUND, "urls": SOUND["urls"][:1]}, "1 of 2 locked files"),
    ],
)
def test_findings(said, text):
    code, lines = run(two=(200, said))
    assert code == audit.FOUND
    assert text in "\n".join(lines)


def test_a_release_that_is_gone():
    code, lines = run(two=(404, {}))
    assert code == audit.FOUND
    assert "no such release" in lines[0]


@pytest.mark.parametrize("accepted", ["PYSEC-1", "CVE-1"])
def test_an_accepted_vulnerability(accepted):
    assert run(two=(200, {**SOUND, "vulnerabilities": [BAD]}), accepted={accepted: "why"})[0] == audit.OK


def test_a_withdrawn_vulnerability():
    assert run(two=(200, {**SOUND, "vulnerabilities": [{**BAD, "withdrawn": "2026-01-01"}]}))[0] == audit.OK


@pytest.mark.parametrize("one", [(404, {}), (500, {}), (200, {}), (200, [])])
def test_no_answers_are_never_taken_for_good_ones(one):
    code, lines = run(one=one)
    assert code == audit.UNKNOWN
    assert lines[0].startswith("not audited")
    assert lines[-1] == "0 of 2 releases asked about, 0 findings"


def test_findings_count_although_the_index_falls_silent():
    assert run(one=(200, {**SOUND, "vulnerabilities": [BAD]}), two=(500, {}))[0] == audit.FOUND


def test_nobody_there():
    with index({}) as root:
        pass
    assert audit.audit(audit.pins(LOCK), audit.asker(root), {})[0] == audit.UNKNOWN


@pytest.mark.parametrize("suffix", ["/simple", "/simple/"])
def test_the_index_is_that_of_pip(monkeypatch, suffix):
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:1/root{suffix}")
    assert audit.index_url() == "http://127.0.0.1:1/root"


def files(version="2.0", yanked=False, hashes=(A, B)):
    names = (f"two_more-{version}-py3-none-any.whl", f"two_more-{version}.tar.gz")
    return [
        {"filename": name, "hashes": {"sha256": sha256}, "yanked": yanked, "url": f"../{name}"}
        for name, sha256 in zip(names, hashes, strict=True)
    ]


def page(listed):
    links = (
        f'<a href="{file["url"]}#sha256={file["hashes"]["sha256"]}"'
        + (f' data-yanked="{file["yanked"] if isinstance(file["yanked"], str) else ""}"' if file["yanked"] else "")
        + f">{file['filename']}</a><br>"
        for file in listed
    )
    return f"<html><body>{''.join(links)}<a name='x'></a></body></html>"


@contextmanager
def simple_index(listed, *, as_json):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            there = self.path in ("/simple/one/", "/simple/two-more/")
            one = [
                {"filename": "one-1.0.tar.gz", "hashes": {"sha256": A}, "yanked": False, "url": "one-1.0.tar.gz"}
            ]
            asked = one if self.path == "/simple/one/" else listed
            self.send_response(200 if there else 404)
            kind = "application/vnd.pypi.simple.v1+json" if as_json else "text/html"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write((json.dumps({"files": asked}) if as_json else page(asked)).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("listed", "code", "text"),
    [
        ([*files(), *files("2.1", yanked=True)], 3, "hashes of files: 2 of 2 releases asked about, 0 findings"),
        (files(yanked="broken"), 1, "two-more 2.0: withdrawn: broken"),
        (files(yanked=True), 1, "two-more 2.0: withdrawn: no reason given"),
        (files(hashes=(A, "c" * 64)), 1, "two-more 2.0: 1 of 2 locked files are not those of the index"),
        (files("2.1"), 1, "two-more 2.0: the index has no such release (any more)"),
    ],
)
def test_an_index_that_tells_pip_only(monkeypatch, tmp_path, capsys, as_json, listed, code, text):
    (tmp_path / "lock.txt").write_text(LOCK)
    with simple_index(listed, as_json=as_json) as root:
        monkeypatch.setenv("PIP_INDEX_URL", f"{root}/simple")
        assert audit.main([str(tmp_path / "lock.txt")]) == code
    told = capsys.readouterr().out
    assert text in told
    assert "vulnerabilities: 0 of 2 releases asked about" in told, "what nobody asked about is told"


def test_accepted_ones_have_reasons():
    import tomllib

    assert all(tomllib.loads(audit.ACCEPTED.read_text(encoding="utf-8")).values())
