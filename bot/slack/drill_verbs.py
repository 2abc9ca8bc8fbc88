"""What people ask of drills: which there are, to begin one, to end them."""

from bot.incident.people import Refused
from bot.incident.timeline import count
from bot.slack import cards
from bot.slack.ports import Drills
from bot.slack.replies import Asked, Reply, said
from bot.slack.text import esc


class DrillVerbs:
    """`/incident drill`, with a scenario's name, or with `stop`. `drills` is None where none are set up."""

    def __init__(self, drills: Drills | None) -> None:
        self._drills = drills

    def ask(self, asked: Asked) -> Reply:
        """Raises Refused."""
        drills = self._drills
        if drills is None or not drills.scenarios:
            raise Refused("No drill is set up; add a table `[drills.NAME]` to fixfirst.toml.")
        if not asked.text:
            about = [(name, scenario.about) for name, scenario in drills.scenarios.items()]
            return Reply(cards.drills_card(about, drills.under_way()))
        name = asked.text.split()[0]
        by = asked.by

        def stop() -> Reply:
            ended = drills.stop(by)
            return said(f"{count(len(ended), 'drill')} ended." if ended else "No drill goes on.")

        def start() -> Reply:
            drill = drills.start(name, by)
            return said(
                f"The drill {esc(drill.scenario)} has begun. Its incident comes as a real one does; watch the clock."
            )

        return Reply(slow=stop if name == "stop" else start)
