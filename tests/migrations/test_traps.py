"""What has eaten rows elsewhere when a schema changed: cascades, halves, newer schemas, two that start at once."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from bot.cli import main
from bot.journal.database import MIGRATIONS, NewerSchema, migrate, newest_schema, open_engine, sqlite_url
from tests.migrations.conftest import filled, up_to_date
from tests.migrations.fill import pour_out
from tests.servers import free_ports

A_PARENT_WITH_THREE_CHILDREN = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0901", "{head}"
def upgrade():
    op.create_table("parent", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(10)))
    op.create_table(
        "child",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent", sa.Integer, sa.ForeignKey("parent.id", ondelete="CASCADE")),
    )
    op.execute("INSERT INTO parent VALUES (1, 'one')")
    op.execute("INSERT INTO child VALUES (1, 1), (2, 1), (3, 1)")
"""
THE_PARENT_IS_REBUILT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0902", "0901"
def upgrade():
    for table, column in (("parent", "name"), ("incident", "channel")):
        with op.batch_alter_table(table, recreate="auto") as batch:
            batch.alter_column(column, type_=sa.String(80), existing_type=sa.String(40))
"""
IT_FAILS_HALF_WAY = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0901", "{head}"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("DELETE FROM outbox")
    raise RuntimeError("the power went out")
"""
A_CHILD_POINTS_NOWHERE = """
from alembic import op
revision, down_revision = "0901", "{head}"
def upgrade():
    op.execute("DELETE FROM incident WHERE number = 1")
"""
START = """
import sys
from bot.journal.database import migrate, open_engine
sys.stdin.readline()
migrate(open_engine(sys.argv[1]))
"""

Later = Callable[..., Config]


@pytest.fixture
def later(tmp_path: Path) -> Later:
    """A version of ours with further revisions, and on request with another way to carry them out."""

    def made(url: str, *revisions: str, env: Callable[[str], str] = lambda own: own) -> Config:
        scripts = tmp_path / "later"
        shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        (scripts / "env.py").write_text(env((scripts / "env.py").read_text()))
        for number, revision in enumerate(revisions):
            (scripts / "versions" / f"later_{number}.py").write_text(revision.replace("{head}", newest_schema()))
        config = Config()
        config.set_main_option("script_location", str(scripts))
        config.attributes["engine"] = open_engine(url)
        return config

    return made


def ask(url: str, question: str) -> object:
    engine = create_engine(url)
    with engine.connect() as connection:
        answer = connection.execute(text(question)).scalar()
    engine.dispose()
    return answer


def upgrade(config: Config) -> None:
    try:
        command.upgrade(config, "head")
    finally:
        config.attributes["engine"].dispose()


def test_a_table_that_is_rebuilt_keeps_the_rows_that_hang_on_it(
    left_behind: Callable[[str], str],
    later: Later,
) -> None:
    url = left_behind(newest_schema())
    upgrade(later(url, A_PARENT_WITH_THREE_CHILDREN, THE_PARENT_IS_REBUILT))
    assert ask(url, "SELECT count(*) FROM child") == 3
    assert pour_out(url)["event"] == filled(newest_schema())["event"]


def test_with_foreign_keys_left_on_sqlite_would_have_emptied_them(tmp_path: Path, later: Later) -> None:
    url = sqlite_url(tmp_path)
    up_to_date(url)
    left_on = later(
        url,
        A_PARENT_WITH_THREE_CHILDREN,
        THE_PARENT_IS_REBUILT,
        env=lambda own: own.replace("foreign_keys=OFF", "foreign_keys=ON"),
    )
    upgrade(left_on)
    assert ask(url, "SELECT count(*) FROM child") == 0


def test_a_migration_that_fails_half_way_leaves_the_database_as_it_was(
    left_behind: Callable[[str], str],
    later: Later,
) -> None:
    url = left_behind(newest_schema())
    with pytest.raises(RuntimeError, match="the power went out"):
        upgrade(later(url, IT_FAILS_HALF_WAY))
    assert pour_out(url) == filled(newest_schema())
    assert ask(url, "SELECT version_num FROM alembic_version") == newest_schema()


def test_a_migration_that_leaves_rows_which_point_nowhere_is_not_kept(
    left_behind: Callable[[str], str],
    later: Later,
) -> None:
    url = left_behind(newest_schema())
    with pytest.raises(Exception, match=r"point nowhere|violates foreign key"):
        upgrade(later(url, A_CHILD_POINTS_NOWHERE))
    assert pour_out(url) == filled(newest_schema())


def test_after_a_migration_foreign_keys_hold_again(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    migrate(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_an_older_version_does_not_touch_a_newer_database_and_says_what_to_do(
    left_behind: Callable[[str], str],
    later: Later,
) -> None:
    url = left_behind(newest_schema())
    upgrade(later(url, A_PARENT_WITH_THREE_CHILDREN))
    before = pour_out(url)
    with pytest.raises(NewerSchema, match="has schema 0901, made by a newer version of FixFirst; this one knows up to"):
        up_to_date(url)
    assert pour_out(url) == before


@pytest.mark.parametrize(("words", "ends_with"), [(("serve",), 1), (("list",), 1), (("audit", "verify"), 2)])
def test_at_the_terminal_that_is_one_sentence(
    tmp_path: Path, later: Later, words: tuple[str, ...], ends_with: int
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    up_to_date(sqlite_url(data))
    upgrade(later(sqlite_url(data), A_PARENT_WITH_THREE_CHILDREN))
    config = tmp_path / "fixfirst.toml"
    ports = free_ports(2)
    config.write_text(
        f'workspace = "night-shift"\ndatabase = "{sqlite_url(data)}"\n'
        f"[doors]\nport = {ports[0]}\n[pages]\nport = {ports[1]}\n"
    )
    said = CliRunner().invoke(main, [*words, "--config", str(config)])
    assert said.exit_code == ends_with
    assert said.output.startswith("Error: the database has schema 0901")
    assert "Start the newer version, or restore a backup" in said.output


def test_three_servers_that_start_at_once_bring_it_up_to_date_once(
    left_behind: Callable[[str], str],
) -> None:
    url = left_behind("0001")
    before = pour_out(url)
    servers = [
        subprocess.Popen([sys.executable, "-c", START, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [server.communicate("go\n", timeout=60)[1] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0], said
    assert ask(url, "SELECT version_num FROM alembic_version") == newest_schema()
    after = pour_out(url)
    assert {table: len(after[table]) for table in before} == {table: len(rows) for table, rows in before.items()}


def test_three_servers_that_start_at_once_on_an_empty_database_make_one_schema(empty: str) -> None:
    servers = [
        subprocess.Popen([sys.executable, "-c", START, empty], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [server.communicate("go\n", timeout=60)[1] for server in servers]
    assert [server.returncode for server in servers] == [0, 0, 0], said
    assert ask(empty, "SELECT version_num FROM alembic_version") == newest_schema()
