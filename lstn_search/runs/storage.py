"""Where a run keeps its study: the SQLite file in its folder, or the database that --storage names.

URLs are SQLAlchemy's. What is written down or said of one is its `public` spelling, without password and without query,
where drivers take passwords too. A relative SQLite path is one below the run folder, wherever a command is typed.

A search opens the study to write. Whatever else looks at a run reads: it makes no file, no table and no study.
"""

import contextlib
import dataclasses
import re
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstn_search.errors import RunError, SettingError
from lstn_search.runs.links import OURS

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

__all__ = ["STUDY_FILE", "Storage", "Stored"]

STUDY_FILE = "study.db"
EXAMPLE = "write for example postgresql://user@host/name, or sqlite:///FILE below the run folder"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Stored:
    """A study as it lies in its database."""

    user_attrs: dict[str, Any]
    trials: "list[FrozenTrial]"


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Storage:
    """The database of a run's study; see `parse`."""

    url: "URL"
    """With its password; of an SQLite file the absolute path."""
    folder: Path
    """The run's, resolved."""

    @classmethod
    def parse(cls, text: str, folder: Path) -> "Storage":
        """Read a URL. Raises SettingError, which shows nothing secret, on one that names no database that lasts."""
        import sqlalchemy

        folder = folder.resolve()
        try:
            url = sqlalchemy.make_url(text)
            url.get_dialect()
        except (sqlalchemy.exc.ArgumentError, ImportError, ValueError):  # a port that is no number
            shown = "" if set(text) & set(":@?=") else f" {text!r}"
            raise SettingError(f"--storage{shown} is not a database URL that SQLAlchemy knows; {EXAMPLE}") from None
        if url.get_backend_name() != "sqlite":
            if ":" in (url.username or "") or text.partition("?")[0].count("@") > 1:
                raise SettingError("--storage has a : or @ too many; in a user or password write %3A and %40 for them")
            return cls(url=url, folder=folder)
        if url.drivername not in ("sqlite", "sqlite+pysqlite") or url.host or url.username or url.port:
            raise SettingError(f"--storage of SQLite has three slashes and no host; {EXAMPLE}")
        path = url.database or ":memory:"
        if path == ":memory:" or path.startswith("file:") or "\0" in path or set(url.query) - {"timeout"}:
            raise SettingError(f"--storage must be an SQLite file by its plain path, as memory is lost; {EXAMPLE}")
        storage = cls(url=url.set(drivername="sqlite", database=str(folder / path)), folder=folder)
        if storage.is_inside and storage.place_inside.split("/")[0] in OURS and storage.place_inside != STUDY_FILE:
            raise SettingError(f"--storage names {storage.place_inside}, where a run keeps something else; {EXAMPLE}")
        return storage

    @classmethod
    def of_folder(cls, folder: Path) -> "Storage":
        """The run's own SQLite file."""
        import sqlalchemy

        folder = folder.resolve()
        return cls(url=sqlalchemy.URL.create("sqlite", database=str(folder / STUDY_FILE)), folder=folder)

    # -- what it is called ---------------------------------------------------------------------------------------

    @property
    def file(self) -> Path | None:
        """Of SQLite, links followed."""
        return Path(self.url.database or "").resolve() if self.url.get_backend_name() == "sqlite" else None

    @property
    def is_inside(self) -> bool:
        """Whether it is a file of the run folder, which no link leads out of it."""
        return self.file is not None and self.file.is_relative_to(self.folder)

    @property
    def place_inside(self) -> str:
        """Of a file of the run folder, its path from there."""
        assert self.file is not None
        return self.file.relative_to(self.folder).as_posix()

    @property
    def public(self) -> str:
        """For the manifest and for messages: without anything secret, and relative where it moves with the folder."""
        url = self.url.set(query={})._replace(password=None)  # set() takes None for "as it was"
        if self.is_inside:
            url = url.set(database=self.place_inside)
        return url.render_as_string()

    @property
    def name(self) -> str:
        """For messages: an SQLite file's path."""
        return self.public if self.file is None else str(self.url.database)

    def is_at(self, other: "Storage") -> bool:
        """Whether both name one database, as far as both say where it is; user, driver and query do not matter."""
        if self.file is not None or other.file is not None:
            return self.file == other.file
        pairs = zip(_place(self.url), _place(other.url), strict=True)
        return all(mine == theirs or None in (mine, theirs) for mine, theirs in pairs)

    # -- what is in it -------------------------------------------------------------------------------------------

    def open(self) -> "RDBStorage":
        """To write, made if need be; for use within `guarded`."""
        return self._optuna(self._connectable("rwc"))

    def read(self, *names: str) -> list[Stored | None]:
        """The studies of these names, None for one that is not there. Nothing is made or changed.

        Raises RunError when the database cannot be read.
        """
        import optuna
        import sqlalchemy

        with self.guarded(), self._to_read() as url:
            if url is None:
                return [None for _ in names]
            engine = sqlalchemy.create_engine(url)
            try:  # Optuna would write its version into a database that has none
                tables = set(sqlalchemy.inspect(engine).get_table_names())
                if not {"studies", "version_info", "alembic_version"} <= tables:
                    return [None for _ in names]
                with engine.connect() as connection:
                    there = set(connection.execute(sqlalchemy.text("SELECT study_name FROM studies")).scalars())
            finally:
                engine.dispose()
            if not there & set(names):
                return [None for _ in names]
            storage = self._optuna(url, skip_table_creation=True)
            try:
                return [_stored(optuna.load_study(study_name=name, storage=storage)) if name in there else None
                        for name in names]  # fmt: skip
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise RunError(
                    f"the study in {self.name} holds what no search wrote ({type(error).__name__}); restore it"
                ) from None  # Optuna takes what it finds for what it wrote
            finally:
                storage.engine.dispose()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """A database's troubles (a full disk, a damaged file) as one line; Optuna's warnings are not for the user."""
        import optuna
        import sqlalchemy

        try:
            with warnings.catch_warnings(action="ignore"):
                yield
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            cause = error.__cause__ or error
            reason = self._without_secrets(str(getattr(cause, "orig", None) or cause).splitlines()[0])
            cure = "make room on the disk or restore the file"
            if self.file is None:
                cure = "start its server, and give the password where its client looks (PGPASSWORD, ~/.pgpass)"
            raise RunError(
                f"the study in {self.name} cannot be used ({reason}); {cure}, then go on with --resume"
            ) from None
        except ImportError as error:
            raise SettingError(
                f"the database of {self.name} needs a driver that is not installed ({error}); for postgresql:// "
                "pip install 'psycopg[binary]', for postgresql+psycopg2:// pip install psycopg2-binary"
            ) from None

    @contextlib.contextmanager
    def _to_read(self) -> Iterator[str | None]:
        """What to connect to so that nothing can be written; None where there is no file.

        A transaction that a kill cut off is undone in a copy: no process is writing then.
        """
        if self.file is None:
            yield self._connectable("")
        elif not self.file.is_file():
            yield None
        elif not _was_cut(self.file):
            yield self._connectable("ro")
        else:
            with tempfile.TemporaryDirectory(prefix="lstn-study-") as scratch:
                for file in (self.file, Path(f"{self.file}-journal")):
                    shutil.copy(file, scratch)
                yield _sqlite(Path(scratch).resolve() / self.file.name, "rw", {})

    def _connectable(self, mode: str) -> str:
        """The URL to connect to."""
        if self.file is not None:
            return _sqlite(self.file, mode, dict(self.url.query))
        return self.url.render_as_string(hide_password=False)

    def _optuna(self, url: str, *, skip_table_creation: bool = False) -> "RDBStorage":
        import optuna

        try:
            return optuna.storages.RDBStorage(url, skip_table_creation=skip_table_creation)
        except RuntimeError as error:
            raise RunError(f"the study in {self.name} was made by another version of Optuna: {error}") from None

    def _without_secrets(self, text: str) -> str:
        """What a driver says, without what may be a password, however it is spelled."""
        values = {value for values in self.url.normalized_query.values() for value in values}
        values |= {setting.partition("=")[2] for value in values for setting in value.split(";")}  # as ODBC takes them
        secrets = {value for value in values if len(value) > 3} | {str(self.url.password or "")} - {""}
        for secret in sorted(secrets, key=len, reverse=True):
            text = re.sub("".join(map(_spellings, secret)), "***", text)
        return text


def _stored(study: "optuna.Study") -> Stored:
    return Stored(user_attrs=study.user_attrs, trials=study.get_trials(deepcopy=False))


def _spellings(sign: str) -> str:
    """A pattern for a character as it is, and as URLs may have it."""
    encoded = "".join(f"%{byte:02X}" for byte in sign.encode(errors="replace"))
    return f"(?:{re.escape(sign)}|(?i:{encoded}){'|[+]' if sign == ' ' else ''})"


def _place(url: "URL") -> tuple[str | int | None, ...]:
    return url.get_backend_name(), url.host and url.host.lower(), url.port, url.database


def _sqlite(file: Path, mode: str, query: dict[str, Any]) -> str:
    """As SQLite's own URI, which takes every file name and a mode."""
    import sqlalchemy

    query = query | {"mode": mode, "uri": "true"}
    return sqlalchemy.URL.create("sqlite", database=file.as_uri(), query=query).render_as_string()


def _was_cut(file: Path) -> bool:
    """Whether there is a transaction to undo before the file can be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        return error.sqlite_errorname == "SQLITE_READONLY_ROLLBACK"
    return False
