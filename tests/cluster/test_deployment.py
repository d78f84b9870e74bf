"""The files in ``deploy/postgres`` on a real server: TLS, roles with few rights, a standby, and a backup."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx2
import psycopg
import pytest
from service import Service
from small_images import register, small_image

import imagefinder
from imagefinder.core.errors import StoreError
from imagefinder.core.settings import Settings
from imagefinder.server.parts import make_parts
from imagefinder.stores.distributed.address import Address
from imagefinder.stores.distributed.pool import Database, Options
from imagefinder.stores.distributed.store import DistributedStore

from . import postgres_server
from .postgres_server import USER, PostgresServer
from .replicas import hang, resume
from .writers import lost

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    done = subprocess.run([DEPLOY / "secrets.sh", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def server(secrets):
    """A primary with our pg_hba.conf, roles and passwords; the server of the package has no TLS."""
    if reason := postgres_server.missing():
        pytest.skip(reason)
    made = PostgresServer()
    made.settings |= settings(made, secrets)
    try:
        made.create()
        made.start()
        run_psql(made, "CREATE DATABASE imagefinder", database="postgres")
        done = subprocess.run(
            [DEPLOY / "postgres" / "primary.sh"],
            env=environment(made) | {"SECRETS": str(secrets), "CONFIGURATION": str(DEPLOY / "postgres")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.remove()


def owned_copy(server, path):
    """A copy of a file or folder that belongs to the user of a server."""
    target = server.folder / path.name
    copied = shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    owner = server.folder.stat()
    for one in (Path(copied), *Path(copied).glob("*")):
        os.chown(one, owner.st_uid, owner.st_gid)
    return Path(copied)


def settings(server, secrets, *, tls=False):
    """The settings of postgresql.conf that a small server can have, with its own copies of the files."""
    hba = owned_copy(server, DEPLOY / "postgres" / "pg_hba.conf")
    own = owned_copy(server, secrets)
    (own / "postgres.key").chmod(0o600)
    if not tls:
        hba.write_text(hba.read_text().replace("hostssl", "host   "))
    ours = re.findall(
        r"^(\w+) = '?([^'#\n]*?)'?\s*(?:#.*)?$", (DEPLOY / "postgres" / "postgresql.conf").read_text(), re.M
    )
    small = {
        "shared_buffers",
        "effective_cache_size",
        "maintenance_work_mem",
        "max_connections",
        "listen_addresses",
    }
    small |= {"wal_keep_size", "max_wal_size"}
    chosen = {name: value for name, value in ours if name not in small} | {
        "hba_file": str(hba),
        "ssl_cert_file": str(own / "postgres.crt"),
        "ssl_key_file": str(own / "postgres.key"),
    }
    return {name: value for name, value in chosen.items() if tls or not name.startswith("ssl")}


def environment(server):
    """libpq's environment of the superuser, who connects from the machine itself."""
    return {
        "PATH": f"{server.program('psql').parent}:{os.environ['PATH']}",
        "PGHOST": str(server.folder),
        "PGPORT": str(server.port),
        "PGUSER": USER,
        "PGPASSWORD": server.password,
    }


def psql(server, *arguments, database="imagefinder"):
    done = subprocess.run(
        ["psql", "--dbname", database, "--no-psqlrc", "--tuples-only", "--no-align", *arguments],
        env=environment(server),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_psql(server, statement, **options):
    return psql(server, "--command", statement, **options)


def wait_for(read):
    """The result of a function, as soon as it is not empty."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if found := read():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came")


def location(server, secrets, role, *, password=True, tls=False):
    secret = f":{(secrets / f'{role}_password').read_text().strip()}" if password else ""
    user = "replicator" if role == "replicator" else f"imagefinder_{role}"
    mode = f"?sslmode=verify-full&sslrootcert={secrets / 'ca.crt'}" if tls else ""
    return f"postgresql://{user}{secret}@localhost:{server.port}/imagefinder/main{mode}"


def plain(url):
    """The location of a collection as that of its database, for the driver."""
    return url.replace("/imagefinder/main", "/imagefinder")


def opened(url, *, create=False, **options):
    address = Address.of_collection(url)
    database = Database(address.database, Options(**options))
    return closing(DistributedStore(database, address.collection, create=create, cache_bytes=0))


@pytest.fixture
def without_standby(server):
    """Commits do not wait for the standby, which these tests do not have."""
    run_psql(server, "ALTER SYSTEM RESET synchronous_standby_names")
    run_psql(server, "SELECT pg_reload_conf()")


@pytest.fixture
def tables(server, secrets, without_standby):
    """The tables, made by their owner as the recipes do it."""
    database = location(server, secrets, "owner", password=False).removesuffix("/main")
    done = subprocess.run(
        [sys.executable, "-m", "imagefinder", "migrate", "--collections", database],
        env=os.environ | {"IMAGEFINDER_DATABASE_PASSWORD_FILE": str(secrets / "owner_password")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tables of store" in done.stdout
    assert "tables of service" in done.stdout


def test_the_script_names_the_standby_that_commits_wait_for(server):
    assert "ANY 1 (standby)" in (server.data / "postgresql.auto.conf").read_text()


def test_servers_read_and_change_rows_and_no_tables(server, secrets, tables):
    password = secrets / "app_password"
    with opened(location(server, secrets, "app", password=False), create=True, password_file=password) as store:
        register(store).put([small_image("a"), small_image("b")])
        assert store.select("sift", ["b", "a"]).ids == ("b", "a")
        assert store.check() == []
        store.put_derived("x", b"data")
        lease = store.lease("work", 5)
        assert lease
        lease.release()
        store.delete(["a"], remember=True)
        assert store.count() == 1
    with psycopg.connect(plain(location(server, secrets, "app"))) as connection:
        for statement in (
            "CREATE TABLE public.mine (n int)",
            "DROP TABLE imagefinder.images",
            "ALTER TABLE imagefinder.images ADD COLUMN mine int",
            "TRUNCATE imagefinder.images",
            "CREATE ROLE mine",
            "COPY imagefinder.images TO PROGRAM 'true'",
            "SELECT pg_read_file('PG_VERSION')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


@pytest.mark.faults
def test_servers_make_indexes_keys_and_jobs(server, secrets, tables):
    url = location(server, secrets, "app", password=False)
    settings = Settings(
        collections=url.removesuffix("/main"),
        collection=url,
        database_password_file=str(secrets / "app_password"),
        threads=1,
    )
    with imagefinder.open(settings=settings) as collection:
        register(collection.store).put([small_image(f"{number:03}", points=40) for number in range(60)])
        (state,) = collection.rebuild_index().indexes
        assert state.images >= 60
        assert (state.images, state.waiting) == (collection.info().images, 0)
        assert collection.rebuild_index().problems == ()
        assert collection.verify_index().problems == ()
    parts = make_parts(settings)
    secret = parts.keys.create("shop", "read")
    assert parts.keys.exists(hashlib.sha256(secret.encode()).hexdigest())
    assert parts.jobs.count("queued") == 0
    parts.close()


@pytest.mark.faults
def test_two_servers_answer_alike_and_leave_the_balancer_without_a_database(server, secrets, tables, tmp_path):
    """As in the recipes: a key by the command, and two servers with the role of servers."""
    url = location(server, secrets, "app", password=False)
    shared = {
        "IMAGEFINDER_COLLECTIONS": url.removesuffix("/main"),
        "IMAGEFINDER_DATABASE_PASSWORD_FILE": str(secrets / "app_password"),
        "IMAGEFINDER_THREADS": "1",
    }
    made = subprocess.run(
        [sys.executable, "-m", "imagefinder", "keys", "create", "editor", "--write"],
        env=os.environ | shared,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {re.search(r'if_[A-Za-z0-9_-]+', made.stdout)[0]}"}
    pictures = Path(__file__).parents[2] / "examples" / "pictures"
    common = {"collections": shared["IMAGEFINDER_COLLECTIONS"], "auth": "on", "threads": "1"}
    common |= {
        "database_password_file": str(secrets / "app_password"),
        "collection": url.replace("/main", "/default"),
    }
    with Service(tmp_path / "a", **common) as first, Service(tmp_path / "b", **common) as second:
        for one in (first, second):
            wait_for(lambda one=one: httpx2.get(f"{one.url}/health/ready").status_code == 200)
            assert httpx2.get(f"{one.url}/v1/info").status_code == 401
        put = httpx2.put(
            f"{first.url}/v1/collections/default/images/cat.jpg",
            files={"image": (pictures / "cat.jpg").read_bytes()},
            headers=headers,
            timeout=60,
        )
        assert put.is_success, put.text
        answers = [
            httpx2.post(
                f"{one.url}/v1/collections/default/search",
                files={"image": (pictures / "cat.jpg").read_bytes()},
                headers=headers,
                timeout=60,
            ).json()["hits"][0]["id"]
            for one in (first, second)
        ]
        assert answers == ["cat.jpg", "cat.jpg"]
        metrics = httpx2.get(f"{second.url}/metrics", headers=headers).text
        assert "imagefinder_store_available 1.0" in metrics
        assert "imagefinder_database_standbys 0.0" in metrics
        hang(server)
        try:
            began = time.monotonic()
            for one in (first, second):
                assert httpx2.get(f"{one.url}/health/ready", timeout=20).status_code == 503
                assert httpx2.get(f"{one.url}/health/live", timeout=5).status_code == 200
            assert time.monotonic() - began < 12
        finally:
            resume(server)
        for one in (first, second):
            wait_for(lambda one=one: httpx2.get(f"{one.url}/health/ready", timeout=20).status_code == 200)


def test_a_reader_reads_no_keys_and_changes_nothing(server, secrets, tables):
    # The tables exist only now.
    psql(server, "--set", "ON_ERROR_STOP=1", "--file", str(DEPLOY / "postgres" / "roles.sql"))
    with psycopg.connect(plain(location(server, secrets, "reader"))) as connection:
        assert connection.execute("SELECT count(*) FROM imagefinder.images").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM imagefinder.derived")
        connection.rollback()
        with pytest.raises(psycopg.Error):
            connection.execute("DELETE FROM imagefinder.images")


@pytest.fixture
def server_with_tls(secrets):
    """A server with our pg_hba.conf and certificates: Debian's, because that of the package has no TLS."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if programs is None:
        pytest.skip("PostgreSQL of Debian is not installed (apt-get install postgresql)")
    made = PostgresServer(programs=programs)
    made.settings |= settings(made, secrets, tls=True)
    try:
        made.create()
        made.start()
        run_psql(made, "CREATE DATABASE imagefinder", database="postgres")
        run_psql(
            made, f"CREATE ROLE imagefinder_app LOGIN PASSWORD '{(secrets / 'app_password').read_text().strip()}'"
        )
        yield made
    finally:
        made.remove()


def test_connections_need_tls_and_the_right_certificate(server_with_tls, secrets, tmp_path):
    url = plain(location(server_with_tls, secrets, "app", tls=True))
    database = Database(Address.of_database(url))
    used = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert database.read(lambda connection: connection.execute(used).fetchone()) == (True, "TLSv1.3")
    database.close()
    with pytest.raises(StoreError, match="refuses access"):
        Database(Address.of_database(url.replace("verify-full", "disable")))
    subprocess.run([DEPLOY / "secrets.sh", tmp_path / "other"], capture_output=True, check=True)
    other_authority = url.replace(str(secrets), str(tmp_path / "other"))
    other_name = url.replace("localhost", "other.example") + "&hostaddr=127.0.0.1"
    for wrong, said in ((other_authority, "certificate verify failed"), (other_name, "does not match host name")):
        with pytest.raises(StoreError, match=said) as caught:
            Database(Address.of_database(wrong))
        assert (secrets / "app_password").read_text().strip() not in f"{caught.value} {caught.value.hint}"


def test_the_superuser_cannot_connect_from_elsewhere(server):
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
        psycopg.connect(server.url())


def test_the_script_makes_a_standby(server, secrets, tables):
    standby = PostgresServer()
    try:
        script, own = owned_copy(standby, DEPLOY / "postgres" / "standby.sh"), owned_copy(standby, secrets)
        script.write_text(script.read_text().replace("sslmode=verify-full", "sslmode=disable"))
        options = {
            "port": standby.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": standby.folder,
        }
        command = [script]
        for name, value in (server.settings | options).items():
            command += ["-c", f"{name}={value}"]
        place = {"PRIMARY": "localhost", "PRIMARY_PORT": str(server.port), "SECRETS": str(own)}
        with standby.log.open("ab") as log:
            standby._process = subprocess.Popen(
                command,
                env={"PATH": environment(standby)["PATH"], "PGDATA": str(standby.data), **place},
                stdout=log,
                stderr=log,
                **standby._as_user(),
            )
        standby.wait()
        standby.password = server.password
        assert run_psql(standby, "SELECT pg_is_in_recovery()") == "t"
        run_psql(server, "CREATE TABLE public.shipped AS SELECT 7 AS n")
        assert wait_for(lambda: run_psql(standby, "SELECT to_regclass('public.shipped')")) == "shipped"
        state = "SELECT application_name, state FROM pg_stat_replication"
        assert run_psql(server, state) == "standby|streaming"
    finally:
        standby.remove()
        run_psql(server, "DROP TABLE IF EXISTS public.shipped")


def test_a_physical_backup_is_a_whole_server(postgres, tmp_path):
    name = postgres.new_database("physical")
    url = f"{postgres.url(name)}/main"
    with opened(url, create=True) as store:
        register(store).put([small_image(f"{number:03}") for number in range(50)])
        cursor = store.changes("sift", None).cursor
        restored = PostgresServer()
        try:
            source = f"host=127.0.0.1 port={postgres.port} user={USER}"
            restored.password = postgres.password
            restored.run("pg_basebackup", f"--pgdata={restored.data}", f"--dbname={source}", "--wal-method=stream",
                         "--checkpoint=fast", "--no-sync")  # fmt: skip
            store.put([small_image("after")])
            restored.start()
            with opened(f"{restored.url(name)}/main") as copy:
                assert copy.count() == 50
                assert copy.check() == []
                assert lost({f"{number:03}": 0 for number in range(50)}, copy) == []
                assert not copy.changes("sift", cursor).any
                register(copy).put([small_image("later")])
                assert len(copy.changes("sift", cursor).new) == 1
                lost_state = store.changes("sift", None)
                listed = set(copy.changes("sift", None).new.tolist())
                script = (DEPLOY / "postgres" / "restored.sql").read_text().partition("\\if")[0]
                restored.execute(script.partition("BEGIN;")[2], name)
                assert copy.changes("sift", lost_state.cursor).complete
                copy.put([small_image(f"new {number}") for number in range(200)])
                given = set(copy.changes("sift", None).new.tolist()) - listed
                assert len(given) == 200
                assert not given & set(lost_state.new.tolist())
                assert min(given) > 1 << 32
        finally:
            restored.remove()


@pytest.mark.faults
def test_a_logical_backup_is_restored_into_another_server(server, secrets, tables, tmp_path):
    url = location(server, secrets, "app")
    with opened(url, create=True) as store:
        register(store).put([small_image(f"{number:03}") for number in range(50)])
        digests = store.digests([f"{number:03}" for number in range(50)])
        cursor = store.changes("sift", None).cursor
    dump = tmp_path / "imagefinder.dump"
    done = subprocess.run(
        [
            "pg_dump",
            "--format=custom",
            "--schema=imagefinder",
            f"--file={dump}",
            plain(location(server, secrets, "owner")),
        ],
        env={"PATH": environment(server)["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_psql(server, "CREATE DATABASE restored", database="postgres")
    psql(server, "--set", "ON_ERROR_STOP=1", "--file", str(DEPLOY / "postgres" / "roles.sql"), database="restored")
    done = subprocess.run(
        ["pg_restore", "--clean", "--if-exists", "--exit-on-error", "--dbname=restored", dump],
        env=environment(server), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    psql(
        server,
        "--set",
        "ON_ERROR_STOP=1",
        "--file",
        str(DEPLOY / "postgres" / "restored.sql"),
        database="restored",
    )
    psql(server, "--set", "ON_ERROR_STOP=1", "--file", str(DEPLOY / "postgres" / "roles.sql"), database="restored")
    with closing(open_as_superuser(server, "restored")) as copy:
        assert copy.digests(list(digests)) == digests
        assert copy.check() == []
        found = copy.changes("sift", cursor)
        assert found.complete
        register(copy).put([small_image("later")])
        assert len(copy.changes("sift", found.cursor).new) == 1


def open_as_superuser(server, database):
    """The collection of a database that pg_hba.conf keeps from the network, through the socket."""
    url = f"postgresql://{USER}:{server.password}@/{database}/main?host={server.folder}&port={server.port}"
    address = Address.of_collection(url)
    return DistributedStore(Database(address.database), address.collection, create=False, cache_bytes=0)
