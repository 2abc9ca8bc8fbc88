"""Where everything of one run listens, which secrets it uses, and the configuration the bot gets from it."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from bot.workbench.fleet.gateway import flag_file, guard_flag, shed_key, weight_keys
from bot.workbench.fleet.scenarios import SCENARIOS
from bot.workbench.fleet.spec import FAULTS, FleetSpec
from bot.workbench.pagerduty import PagerDutyConfig
from bot.workbench.pagerduty.model import PEOPLE
from bot.workbench.server import LOOPBACK

ROTA = ("U0MAYA", "U0JONAS")
RESPONDERS = "S0RESPOND"
INTAKE_CHANNEL = "C0INCIDENTS"
MODELS = FleetSpec().models
FLAGS = "flags.json"
TOKEN_CAP = 512  # tokens: three pages of text, and the end of a loop


@dataclass(frozen=True)
class Ports:
    """One port per listener, all on 127.0.0.1; 0 takes any free one."""

    page: int = 8066
    pagerduty: int = 8067
    fleet: int = 8068
    prometheus: int = 18090
    alertmanager: int = 18093
    doors: int = 8080
    pages: int = 8081

    def url(self, name: str) -> str:
        """The address of the listener called `name`."""
        return f"http://{LOOPBACK}:{getattr(self, name)}"


# The command-line option of each port.
PORT_OPTIONS = {
    "page": "--port",
    "pagerduty": "--pagerduty-port",
    "fleet": "--fleet-port",
    "prometheus": "--prometheus-port",
    "alertmanager": "--alertmanager-port",
    "doors": "--doors-port",
    "pages": "--pages-port",
}


@dataclass(frozen=True)
class Secrets:
    """Everything one side proves itself with to another. Made afresh for a new directory, kept in it afterwards."""

    slack_bot_token: str
    slack_signing_secret: str
    slack_app_token: str
    pagerduty_routing_key: str
    pagerduty_api_token: str
    pagerduty_webhook_secret: str
    alertmanager_token: str
    fleet_token: str
    change_token: str

    @classmethod
    def new(cls) -> Secrets:
        """Random ones, in the form the vendors' have."""
        return cls(
            slack_bot_token=f"xoxb-{secrets.randbelow(10**12):012d}-{secrets.token_hex(12)}",
            slack_signing_secret=secrets.token_hex(16),
            slack_app_token=f"xapp-1-{secrets.token_hex(24)}",
            pagerduty_routing_key=secrets.token_hex(16),
            pagerduty_api_token=f"u+{secrets.token_hex(9)}",
            pagerduty_webhook_secret=secrets.token_hex(32),
            alertmanager_token=secrets.token_hex(16),
            fleet_token=secrets.token_hex(16),
            change_token=secrets.token_hex(16),
        )

    @classmethod
    def kept_in(cls, directory: Path) -> Secrets:
        """The secrets of this directory; made and written (readable by the owner only) when it has none."""
        path = directory / "secrets.json"
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        made = cls.new()
        if stored:
            # An older run's directory lacks what has been added since.
            made = replace(made, **{e.name: str(stored[e.name]) for e in fields(cls) if e.name in stored})
        if asdict(made) == stored:
            return made
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made

    def bot_environment(self) -> dict[str, str]:
        """What the bot reads from its environment."""
        return {
            "FIXFIRST_SLACK_BOT_TOKEN": self.slack_bot_token,
            "FIXFIRST_SLACK_SIGNING_SECRET": self.slack_signing_secret,
            "FIXFIRST_SLACK_APP_TOKEN": self.slack_app_token,
            "FIXFIRST_PAGERDUTY_ROUTING_KEY": self.pagerduty_routing_key,
            "FIXFIRST_PAGERDUTY_API_TOKEN": self.pagerduty_api_token,
            "FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS": self.pagerduty_webhook_secret,
            "FIXFIRST_ALERTMANAGER_TOKENS": self.alertmanager_token,
            "FIXFIRST_CHANGE_TOKENS": self.change_token,
            "FLEET_TOKEN": self.fleet_token,
        }

    def pagerduty(self, ports: Ports) -> PagerDutyConfig:
        """The PagerDuty account that knows these secrets."""
        return PagerDutyConfig(
            routing_key=self.pagerduty_routing_key,
            api_token=self.pagerduty_api_token,
            webhook_url=f"{ports.url('doors')}/hooks/pagerduty",
            secrets=(self.pagerduty_webhook_secret,),
            web_url=ports.url("page"),
        )


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def write_bot_files(directory: Path, ports: Ports, kept: Secrets, *, socket_mode: bool = False) -> Path:
    """Write `fixfirst.toml`, the gateway's flags and, for starting the bot by hand, `bot.env`; returns the path of the
    first."""
    config = directory / "fixfirst.toml"
    config.write_text(bot_config(directory, ports, socket_mode=socket_mode), encoding="utf-8")
    (directory / FLAGS).write_text(flag_file(MODELS), encoding="utf-8")
    lines = (f"export {name}={value}\n" for name, value in kept.bot_environment().items())
    write_private(directory / "bot.env", "".join(lines))
    return config


def bot_config(directory: Path, ports: Ports, *, socket_mode: bool = False) -> str:
    """The bot's configuration for this run, as TOML."""
    fleet = ports.url("fleet")
    users = "\n".join(f"{person.alias} = {_quoted(person.id)}" for person in PEOPLE)
    rota = ", ".join(_quoted(user) for user in ROTA)
    routes, drills = _routes(), _drills(fleet)
    guards = ", ".join(_quoted(guard_flag(model.name)) for model in MODELS)
    return f"""\
# Written by the workbench for this run. The secrets are in the environment (see bot.env beside this file).
workspace = "night-shift"
data_dir = {_quoted(str(directory / "data"))}
postmortems_dir = {_quoted(str(directory / "postmortems"))}

[doors]
host = "{LOOPBACK}"
port = {ports.doors}

[pages]
host = "{LOOPBACK}"
port = {ports.pages}
url = "{ports.url("pages")}"

[slack]
api_url = "{ports.url("page")}/api/"
team_id = "T0FIXFIRST"
intake_channel = "{INTAKE_CHANNEL}"
pin_reaction = "pushpin"
socket_mode = {"true" if socket_mode else "false"}

[access]
responders = ["{RESPONDERS}"]

[oncall]
[[oncall.rota]]
name = "primary"
users = [{rota}]
handover = "2020-01-01T00:00:00Z"
every = "36500d"    # one long shift: whoever tries this is Maya

[pagerduty]
api_url = "{ports.url("pagerduty")}"
events_url = "{ports.url("pagerduty")}"
from = "{PEOPLE[0].email}"
escalation = "policy"

[pagerduty.users]
{users}

[alertmanager]
url = "{ports.url("alertmanager")}"

[alerts]

[prometheus]
url = "{ports.url("prometheus")}"
timeout = "5s"

# The workbench tells its story in seconds; a production fleet looks back minutes (the default).
[health]
window = "30s"
memory = "6m"

[proof]
quiet = "30s"

# Named endpoints a runbook may call: what each does to the world, how to see that it did, how to take it back.
[endpoints.model-deploy]
risk = "reversible"
method = "POST"
url = "{fleet}/v1/models/{{model}}/deploy"
json = {{ revision = "{{before.previous}}" }}
token_env = "FLEET_TOKEN"

[endpoints.model-deploy.observe]
url = "{fleet}/v1/models/{{model}}"
done = {{ revision = "{{before.previous}}" }}
pin = ["rolling_to"]

[endpoints.model-deploy.undo]
method = "POST"
url = "{fleet}/v1/models/{{model}}/deploy"
json = {{ revision = "{{before.revision}}" }}

[endpoints.cache-fallback]
risk = "reversible"
method = "PUT"
url = "{fleet}/v1/models/{{model}}/fallback"
json = {{ mode = "cache" }}
token_env = "FLEET_TOKEN"

[endpoints.cache-fallback.observe]
url = "{fleet}/v1/models/{{model}}"
done = {{ fallback = "cache" }}

[endpoints.cache-fallback.undo]
method = "PUT"
url = "{fleet}/v1/models/{{model}}/fallback"
json = {{ mode = "{{before.fallback}}" }}

[endpoints.token-cap]
risk = "reversible"
method = "PUT"
url = "{fleet}/v1/models/{{model}}/token-cap"
json = {{ max_tokens = {TOKEN_CAP} }}
token_env = "FLEET_TOKEN"

[endpoints.token-cap.observe]
url = "{fleet}/v1/models/{{model}}"
done = {{ token_cap = {TOKEN_CAP} }}

[endpoints.token-cap.undo]
method = "PUT"
url = "{fleet}/v1/models/{{model}}/token-cap"
json = {{ max_tokens = "{{before.token_cap}}" }}

# The cluster in which the models run: the runbooks call it "fleet".
[kubernetes.fleet]
server = "{fleet}"
token_env = "FLEET_TOKEN"
namespaces = ["inference", "gpu-operator"]

# The gateway's proxy: what it turns away and where it sends a share of a model's requests.
[traffic.edge]
proxy = "envoy"
address = "{fleet}"
{routes}
# The gateway's flags.
[flags.gateway]
file = {_quoted(str(directory / FLAGS))}
flags = [{guards}]

# What no figure of the engine shows: whether a model still answers easy questions.
[[canary]]
name = "chat"
model = "llama-70b"
url = "{fleet}/v1"
token_env = "FLEET_TOKEN"
every = "10s"
timeout = "5s"
tokens_per_day = 100000000    # they cost nothing here

# What can be practised here: each breaks the fleet for real.
{drills}"""


def _drills(fleet: str) -> str:
    """A table for each fault, with the alerts that it raises."""
    tables = []
    for fault in FAULTS:
        alerts = ", ".join(_quoted(alert) for alert in SCENARIOS[fault.id].alerts)
        tables.append(f"""\
[drills.{fault.id}]
about = {_quoted(fault.description)}
alerts = [{alerts}]
url = "{fleet}/v1/faults/{fault.id}"
token_env = "FLEET_TOKEN"
""")
    return "\n".join(tables)


def _routes() -> str:
    """For each model what can be shed and to whom it can be shifted, in the gateway's own keys."""
    lines = []
    for model in MODELS:
        lines += [f"[traffic.edge.routes.{model.name}-batch]", f'shed = "{shed_key(model.name)}"', ""]
        for other, there in (("smaller", model.smaller), ("canary", model.candidate)):
            if there:
                main, share = weight_keys(model.name, other)
                head = f"[traffic.edge.routes.{model.name}-{other}]"
                lines += [head, f'primary = "{main}"', f'fallback = "{share}"', ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a TOML basic string escapes as JSON does
