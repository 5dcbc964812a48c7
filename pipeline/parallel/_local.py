"""Workers that a run starts on this machine: their settings, and what keeps others out of them."""

import logging
import os
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dask

from pipeline.base.errors import PipelineError
from pipeline.base.processes import ONE_THREAD

if TYPE_CHECKING:
    from distributed import LocalCluster, Security

LOOPBACK = "127.0.0.1"
# A worker needs about the same memory for every clip. Returning it to the system in between, page by page, takes a
# tenth of the time of a convolution (glibc; other libraries ignore these variables).
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
DASK_SETTINGS = {
    # These variables must be set before a worker imports anything.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD | KEEP_MEMORY,
    # A worker holds one clip at a time, so if it dies, the clip that caused it is known.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
    # By default, Dask's monitoring for the dashboard and for warnings takes a twentieth of two cores.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    # By default, Dask keeps 10,000 lines of each log, and most of the memory that grows with the clips is these logs.
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
    # A machine that was asleep or overloaded must not lose its workers. A worker that dies is noticed at once anyway.
    "distributed.comm.timeouts.tcp": "1 day",
    "distributed.scheduler.worker-ttl": None,
    # Nor may a new process that starts slowly, after the one before it died, cost the worker's place.
    "distributed.deploy.lost-worker-timeout": "1 day",
    # By default, workers answer HTTP requests, and any website may read the dashboard through the user's browser.
    "distributed.worker.http.routes": [],
    "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin": [],  # only the dashboard's own pages,
    "distributed.dashboard.link": "http://localhost:{port}/status",  # at this address
}
START_ATTEMPTS = 3
DASHBOARD_PORT = 8787  # Dask's usual one; if it is in use, Dask takes a free one


def start_workers(count: int, *, dashboard: bool) -> "LocalCluster":
    """Start a scheduler and `count` workers of one thread, which only this run can reach.

    They listen on the loopback, and accept only who holds the key of this run. Raise `PipelineError` if the workers
    do not start.
    """
    from distributed import LocalCluster

    pages = ["distributed.http.statics"] if dashboard else []
    dask.config.set(DASK_SETTINGS | {"distributed.scheduler.http.routes": pages})
    os.environ.update(ONE_THREAD)  # Dask sets variables for its workers only if they are not set here
    for _ in range(START_ATTEMPTS):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"\s*Port \d+ is already in use")
                return LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    memory_limit=0,  # by default, Dask kills a worker that exceeds its share of the memory
                    host=LOOPBACK,
                    security=new_security(),
                    # Dask always starts a server for HTTP; without a dashboard, it has no pages.
                    dashboard_address=f"{LOOPBACK}:{DASHBOARD_PORT if dashboard else 0}",
                    scheduler_kwargs={"dashboard": dashboard},
                    silence_logs=logging.CRITICAL,
                )
        except RuntimeError as error:  # a worker died while starting; later, Dask would replace it
            last_error = error
    raise PipelineError(
        f"workers died while starting, {START_ATTEMPTS} times in a row; out of memory? reduce run.workers"
    ) from last_error


def new_security() -> "Security":
    """Return a new key and certificate that exist in memory only; Dask sends them to workers through a pipe.

    Dask's own `Security.temporary` dates the certificate from now on, so that connections fail after the clock has
    been set back.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed import Security

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fdan")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(datetime(1970, 1, 1, tzinfo=UTC)).not_valid_after(datetime(9999, 1, 1, tzinfo=UTC))
    certificate = dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    roles = ("scheduler", "worker", "client")
    certificates = {f"tls_{role}_cert": certificate for role in roles}
    keys = {f"tls_{role}_key": private for role in roles}
    return Security(require_encryption=True, tls_ca_file=certificate, **certificates, **keys)
