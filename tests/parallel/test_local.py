"""Workers of this machine listen on the loopback only, and answer nobody but their run."""

import logging
import socket
from contextlib import suppress
from datetime import UTC, datetime
from urllib.request import urlopen

import dask
import psutil
import pytest
from cryptography.x509 import load_pem_x509_certificate
from distributed import Client

from pipeline.parallel._local import DASHBOARD_PORT, new_security
from pipeline.parallel.pool import ExecutionConfig, Pool

pytestmark = pytest.mark.slow


def family() -> list[psutil.Process]:
    """Return this process and all that it has started."""
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def listening() -> set[tuple[str, int]]:
    """Return the addresses on which the family listens."""
    connections = [it for process in family() for it in process.net_connections("inet")]
    return {tuple(it.laddr) for it in connections if it.status == psutil.CONN_LISTEN}


def test_workers_listen_on_the_loopback_only_and_nobody_can_read_their_key() -> None:
    before = listening()
    with Pool(ExecutionConfig(workers=1)) as pool:
        pool.submit(abs, -1)()
        ports = listening() - before
        assert len(ports) >= 3  # of the scheduler, the worker and its nanny
        assert {host for host, _ in ports} == {"127.0.0.1"}
        key = pool._client.security.tls_client_key.split()[4]
        for process in family():
            assert key not in str(process.environ()) + " ".join(process.cmdline())
        address = pool._client._scheduler_identity["address"]
        assert address.startswith("tls://")
        for stranger in (address, address.replace("tls:", "tcp:")):
            with (
                dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
                pytest.raises((OSError, TypeError, ValueError)),
            ):
                Client(stranger, security=new_security() if "tls" in stranger else None, timeout=1)


def test_dashboard_is_opened_only_if_asked_for_and_takes_a_free_port(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    before = listening()
    with socket.socket() as taken, Pool(ExecutionConfig(workers=1, dashboard=True)) as pool:
        with suppress(OSError):  # another process has taken it
            taken.bind(("127.0.0.1", DASHBOARD_PORT))
            taken.listen()
        pool.submit(abs, -1)()
        link = pool._client.dashboard_link
        assert f"Dask's dashboard: {link}" in caplog.messages
        assert str(DASHBOARD_PORT) not in link
        with urlopen(link.replace("localhost", "127.0.0.1"), timeout=10) as page:
            assert b"Dask" in page.read()
        assert {host for host, _ in listening() - before} == {"127.0.0.1"}


def test_certificate_stays_valid_when_the_clock_is_set_back() -> None:
    certificate = load_pem_x509_certificate(new_security().get_tls_config_for_role("client")["ca_file"].encode())
    assert certificate.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc > datetime(9000, 1, 1, tzinfo=UTC)
