"""A program that answers JSON lines, kept running between calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

__all__ = ["WorkerDiedError", "WorkerProcess", "WorkerTimeoutError"]

_CLOSE_S = 5.0


class WorkerDiedError(RuntimeError):
    """The worker ended, or wrote something that is not an answer; the message has its last words."""


class WorkerTimeoutError(RuntimeError):
    """The worker took longer than it was given, and was stopped."""


class WorkerProcess:
    """A child process with a scratch folder of its own; both are gone when this object is.

    The command gets the scratch folder as its first argument and as its working directory, and should end
    when its standard input does.  A process that forked from the owner starts a worker of its own instead
    of using this one: see `usable`.

    Parameters
    ----------
    command
        Program with its arguments; the scratch folder is inserted after the element `script`.
    script
        The program's file, an element of `command`.
    env
        The child's whole environment.
    scratch_parent
        Existing folder in which the scratch folder is made; None for the system's own.

    Examples
    --------
    >>> import sys
    >>> echo = "import sys; [print(line, end='', flush=True) for line in sys.stdin]"
    >>> with WorkerProcess([sys.executable, "-c", echo], script=echo) as worker:
    ...     worker.ask({"op": "any"})
    {'op': 'any', 'id': 1}
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        script: str,
        env: Mapping[str, str] | None = None,
        scratch_parent: str | Path | None = None,
    ) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="proxima-worker-", dir=scratch_parent))
        after = list(command).index(script) + 1
        full = [*command[:after], str(self.scratch), *command[after:]]
        self._log = self.scratch / "worker.log"
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
                    full,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self.scratch,
                    env=None if env is None else dict(env),
                    # Ctrl-C in a terminal goes to the client alone.
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise WorkerDiedError(f"cannot start {full[0]}: {error}") from error
        self._owner = os.getpid()
        self._n_asked = 0
        # Runs when this object is collected, and at the end of the interpreter.
        self._finalizer = weakref.finalize(self, _end, self._process, self.scratch, self._owner)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def n_asked(self) -> int:
        """Number of requests so far."""
        return self._n_asked

    @property
    def usable(self) -> bool:
        """Whether the child runs and belongs to this very process, not to the one that it was forked from."""
        return os.getpid() == self._owner and self._finalizer.alive and self._process.poll() is None

    def ask(self, request: Mapping[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises
        ------
        WorkerTimeoutError
            If no answer came within `timeout_s` seconds.
        WorkerDiedError
            If the child ended first, or its answer is not the one to this request.
        """
        self._n_asked += 1
        stdin, stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        timed_out = threading.Event()
        timer = None
        if timeout_s is not None:
            timer = threading.Timer(timeout_s, self._stop, args=(timed_out,))
            timer.daemon = True
            timer.start()
        try:
            stdin.write(json.dumps({**request, "id": self._n_asked}).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
            if timed_out.is_set():
                raise WorkerTimeoutError(f"no answer within {timeout_s:g} s")
            answer = _parsed(line)
            if answer is None or answer.get("id") != self._n_asked:
                raise WorkerDiedError(self._last_words(line))
        except OSError as error:
            last_words = self._last_words(b"")
            self.close()
            raise WorkerDiedError(last_words) from error
        except BaseException:
            # Interrupted half-way: the next answer on this pipe would belong to this request.
            self._process.kill()
            self.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return answer

    def close(self) -> None:
        """End the child and delete its scratch folder; harmless when done twice."""
        self._finalizer()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _stop(self, timed_out: threading.Event) -> None:
        timed_out.set()
        self._process.kill()

    def _last_words(self, line: bytes) -> str:
        if line:
            return f"it answered {line[:80]!r}"
        try:
            code: int | None = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            code = None
        try:
            log = self._log.read_text(errors="replace").split("\n")
        except OSError:
            log = []
        said = [text.strip() for text in log if text.strip()]
        return f"exit code {code}" + (f", last words: {said[-1][:200]}" if said else "")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line; None if it is something else."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _end(process: subprocess.Popen[bytes], scratch: Path, owner: int) -> None:
    """End `process` and delete `scratch`; in a forked copy of the owner only let go of them."""
    mine = os.getpid() == owner
    if not mine:
        # Not this process's child: keeps Popen from warning that it still runs.
        process.returncode = 0
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    if not mine:
        return
    try:
        process.wait(timeout=_CLOSE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(scratch, ignore_errors=True)
