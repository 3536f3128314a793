"""A process that ``headrace run`` starts: one instance of a job."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.cli.logs import begin_log
from headrace.cli.main import complain, of_system, unexpected
from headrace.cli.options import chosen_jobs
from headrace.engine.ahead import may_run
from headrace.engine.job import Instance
from headrace.errors import HeadraceError, disk_error
from headrace.local.database import CACHE_KIB
from headrace.local.namespace import Namespace
from headrace.names import stage_name
from headrace.project import Project
from headrace.project.dataset_checks import reads_dataset
from headrace.project.dataset_jobs import made_dataset_instance, opened_dataset_job
from headrace.project.opening import opened_job

if TYPE_CHECKING:
    from headrace.engine.dataset_job import DatasetInstance


#: A job over files keeps its points beside the database; what it writes there is small but for new tags.
_OF_FILES_CACHE_KIB: Final = 16 * 1024


def run_instance(arguments: argparse.Namespace) -> int:
    """Run one instance, no longer than its parent lives: nobody could end it or start it again."""
    begin_log(arguments.log)
    if arguments.ahead and not may_run():
        return 0
    project = Project.load(Path(arguments.project))
    job, number, parent = chosen_jobs(project, arguments)[0], arguments.instance, arguments.parent
    settings = project.job(job)
    name = job if arguments.stage is None else stage_name(job, arguments.stage)
    of_files = reads_dataset(project, project.script(job))
    with (
        # Where the data was moved away under a running job, its instances must not begin anew.
        Namespace.open(
            project.data, create=parent is None, cache_kib=_OF_FILES_CACHE_KIB if of_files else CACHE_KIB
        ) as namespace,
        contextlib.ExitStack() as stack,
    ):
        how: dict[str, Any] = {
            "instance": number,
            "instances": settings.instances,
            "wanted": lambda: parent in {None, os.getppid()},
            "say": complain,
        }
        instance: Instance | DatasetInstance
        if of_files:
            files = stack.enter_context(opened_dataset_job(project, namespace, job, number))
            instance = made_dataset_instance(files, namespace, **how)
        else:
            opened = stack.enter_context(opened_job(project, namespace, name, number))
            instance = Instance(opened, namespace, **how)
        signal.signal(signal.SIGTERM, lambda *_: instance.stop())
        _run(instance)
    return 0


def _run(instance: Instance | DatasetInstance) -> None:
    # What is loaded stays: to look through it for garbage again and again would be felt as latency.
    gc.freeze()
    gc.enable()
    try:
        instance.run()
    except HeadraceError:
        raise
    except OSError as error:  # a full disk or too many open files are no event's fault
        raise of_system(error) from None
    except BaseException as error:  # a panic of Polars is no Exception
        if os.strerror(errno.EMFILE) in str(error):  # Polars panics where it cannot make its threads
            raise disk_error(errno.EMFILE, "a file", "open") from None
        # Whatever event brought this about is found as one that kills: by starting again, and bisection.
        complain(unexpected(error))
        os.kill(os.getpid(), signal.SIGABRT)
