"""The commands that look after the journal: whether it is whole, and what may be taken out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.config import YOUNGEST_ARCHIVED, Config, load_for_terminal
from bot.incident import commands as cmd
from bot.incident.plain import hanging, plain
from bot.incident.timeline import count
from bot.terminal import CONFIG, WITHIN_S, at_host, by_me, config_at, desk_at, find, say

if TYPE_CHECKING:
    from bot.journal import Txn
    from bot.journal.chains import Damage, Examined
    from bot.journal.direct import Direct
    from bot.journal.heads import Head


class NotExamined(click.ClickException):
    """What should be examined cannot be read. Exit status 1 says that something is not what was once written."""

    exit_code = 2


@contextmanager
def _examining() -> Iterator[None]:
    """What keeps the journal from being examined is said in a line, without the statement that met it."""
    try:
        with at_host():
            yield
    except click.ClickException as failure:
        raise NotExamined(failure.message.partition("\n")[0]) from failure


@click.group()
def audit() -> None:
    """Show whether the journal is what was once written."""


def _verify(path: Path, ref: str, said: str = "", *, archives: bool = False) -> None:
    from bot.journal.archive import examine_files
    from bot.journal.chains import examine
    from bot.journal.heads import examine_heads, published
    from bot.journal.logbook import examine_logbook

    def look(direct: "Direct", workspace: str) -> tuple["Examined", list["Head"], list["Damage"]]:
        found = examine(direct, workspace, only)
        if only:
            return found, [], []
        misfits = [*examine_heads(direct, workspace), *examine_logbook(direct, workspace)]
        if archives:
            misfits += examine_files(direct, workspace, config_at(path, load_for_terminal).archive_dir)
        return found, published(direct, workspace), misfits

    with _examining(), desk_at(path) as desk:
        only = (desk.journal.id_of(ref) or find(desk, ref).id) if ref else ""
        found, heads, misfits = desk.journal.ask_of_one_moment(look)
    wrong = [str(damage) for damage in (*found.damage, *misfits)]
    if said and not any(head.hash == said.lower() for head in heads):
        wrong.append(f"no head {said} was ever made from this journal as it stands")
    for line in wrong:
        say(plain(line), err=True)
    click.echo(f"{found.incidents} chains checked, {len({damage.ref for damage in found.damage})} broken.")
    if heads:
        click.echo(f"{heads[-1]}.")
    if wrong:
        raise SystemExit(1)


@audit.command(name="verify")
@CONFIG
@click.argument("ref", default="")
@click.option(
    "--head", default="", help="A head that was said in the log or in chat; it must be one of this journal's."
)
@click.option("--archives", is_flag=True, help="Read the files of archived incidents too.")
def audit_verify(path: Path, ref: str, head: str, *, archives: bool) -> None:
    """Check an incident's chain of hashes, or all; what was changed, deleted, swapped or cut off is named."""
    if ref and (head or archives):
        raise click.UsageError("a head and the archives are about all incidents; leave the one out")
    _verify(path, ref, head, archives=archives)


@audit.command(name="logbook")
@CONFIG
def audit_logbook(path: Path) -> None:
    """Print what concerns no single incident: broken glasses and fail-overs, UTC."""
    from bot.incident.logbook import line
    from bot.journal.logbook import records

    with desk_at(path) as desk:
        with at_host():
            recorded = desk.journal.ask(records)
        for record in recorded:
            say(hanging(f"{record.seq:>4}  {record.at:%Y-%m-%d %H:%M:%S}  ", line(record)))


@click.command()
@CONFIG
@click.argument("ref", default="")
def verify(path: Path, ref: str) -> None:
    """The same as audit verify."""
    _verify(path, ref)


def _database_file(config: Config) -> Path:
    """The file of the SQLite database; with PostgreSQL, its own tools do this."""
    from bot.journal.database import file_of

    file = file_of(config.database)
    if file is None:
        raise click.ClickException("the journal is on PostgreSQL; docs/operations.md says how to back that up")
    return file


@click.command()
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
def backup(path: Path, file: Path) -> None:
    """Copy the journal into a new file while the bot runs, and prove that the copy is whole."""
    from bot.journal.backup import NoBackup, back_up
    from bot.journal.database import is_there
    from bot.opening import NoJournal

    config = config_at(path, load_for_terminal)
    database = _database_file(config)
    if not is_there(config.database):
        raise click.ClickException(str(NoJournal(config)))
    try:
        examined = back_up(database, file, config.workspace)
    except NoBackup as error:
        raise click.ClickException(str(error)) from error
    _said(examined, f"{file} holds")


@click.command()
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
def restore(path: Path, file: Path) -> None:
    """Put a backup in the place of the journal; the bot must be stopped. The old journal is kept beside it."""
    from bot.journal import backup as backups
    from bot.journal.clock import wall_clock
    from bot.opening import AlreadyRunning, alone

    config = config_at(path, load_for_terminal)
    database = _database_file(config)
    try:
        with alone(config.data_dir, config.database):
            examined, kept = backups.restore(file, database, config.workspace, wall_clock())
    except (backups.NoBackup, AlreadyRunning) as error:
        raise click.ClickException(str(error)) from error
    if kept is not None:
        click.echo(f"The journal that was there is {kept} now.")
    _said(examined, f"{database} holds")


def _said(examined: "Examined", holds: str) -> None:
    for damage in examined.damage:
        say(plain(str(damage)), err=True)
    click.echo(f"{holds} {count(examined.incidents, 'incident')} with {examined.entries} entries.")
    if examined.damage:
        click.echo("The copy is as the journal was: it was damaged before.", err=True)
        raise SystemExit(1)


@click.command()
@CONFIG
@click.argument("ref")
@click.argument("entry", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Why; it is kept, with your name.")
def redact(path: Path, ref: str, entry: int, reason: str) -> None:
    """Take what somebody wrote out of one entry, by its number in the timeline. It cannot be brought back.

    A change goes from every incident that has it, and from the list of changes. Alerts go by their names from then on.
    """
    from bot.journal import Busy
    from bot.journal.database import file_of
    from bot.journal.redaction import clear_text, empty_wal, with_words_of_alerts

    with desk_at(path) as desk:
        incident = find(desk, ref)
        of_alerts = with_words_of_alerts(desk.journal.entries(incident.id))

        def job(txn: "Txn") -> list[str]:
            """What people call the incidents that lost a text."""
            told = []
            for one in clear_text(txn, incident.id, entry):
                by = {**by_me(desk, incident), "incident": one.incident}
                command = cmd.RedactText(**by, entry=one.entry, number=one.number, reason=reason)
                told.append(desk.execute(txn, command).incident.ref)
            return told

        with at_host():
            _, *others = desk.soon(job, WITHIN_S)
        try:
            after, unseen = with_words_of_alerts(desk.journal.entries(incident.id)), ""
        except Busy as busy:  # it is done all the same
            after, unseen = [], str(busy).partition("\n")[0]
    file = file_of(config_at(path, load_for_terminal).database)
    if file is not None:
        empty_wal(file)
    click.echo(f"The text of entry {entry} of {incident.ref} is out of the journal.")
    if others:
        click.echo(f"So is the same change in {', '.join(others)}.")
    if entry in of_alerts:
        click.echo("The alerts of its group that are known go by their names from now on.")
        click.echo("An alert that is not known yet would bring the words back: mend its rule or labels.")
    if unseen:
        say(plain(f"Whether words of alerts still stand in other entries could not be looked at: {unseen}"), err=True)
    if after:
        click.echo(f"Words of alerts still stand in {', '.join(f'entry {number}' for number in after)}.")
    click.echo(
        "It may still stand in Slack, in PagerDuty, in the postmortem, in the alert or pipeline itself and in backups."
    )


@click.group()
def archive() -> None:
    """Move old incidents out of the journal, and prove what was moved."""


@archive.command(name="run")
@CONFIG
@click.option("--older-than", "days", type=click.IntRange(min=YOUNGEST_ARCHIVED), help="Days; instead of the setting.")
def archive_run(path: Path, days: int | None) -> None:
    """Move incidents that are long over into files of their own, while the bot runs."""
    from bot.journal import Busy
    from bot.journal.archive import Moved, move_old
    from bot.journal.archive_file import BadArchive

    config = config_at(path, load_for_terminal)
    after = timedelta(days=days) if days else config.archive_after
    if after is None:
        raise click.UsageError("set retention.archive_after_days, or say --older-than DAYS; nothing goes unasked")
    moved = left = 0
    with desk_at(path) as desk:
        try:
            for one in move_old(desk.journal, config.archive_dir, desk.journal.clock() - after):
                if isinstance(one, Moved):
                    moved += 1
                    click.echo(f"{one.ref}: {one.entries} entries in {config.archive_dir / one.file}")
                else:
                    left += 1
                    say(plain(f"{one.ref} stays: {one.why}"), err=True)
        except (BadArchive, Busy, OSError) as error:
            reason = plain(str(error).partition("\n")[0])
            raise click.ClickException(f"{reason}; {count(moved, 'incident')} archived before") from error
    click.echo(f"{count(moved, 'incident')} archived, {left} left.")


@archive.command(name="verify")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def archive_verify(files: tuple[Path, ...]) -> None:
    """Check archived incidents by their files alone: every entry, every text, and that nothing is missing in between.

    Whether the end is there, and every file, only the journal knows: audit verify --archives.
    """
    from bot.journal.archive_file import BadArchive, read

    broken = 0
    for file in files:
        try:
            content = read(file)
            wrong = [str(damage) for damage in content.damage()]
        except (BadArchive, OSError) as error:
            wrong = [str(error)]
        else:
            if not wrong:
                say(plain(f"{content.ref}: {len(content.entries)} entries, head {content.head}"))
        broken += bool(wrong)
        for line in wrong:
            say(plain(line), err=True)
    if broken:
        raise SystemExit(1)


COMMANDS = (archive, audit, verify, backup, restore, redact)
