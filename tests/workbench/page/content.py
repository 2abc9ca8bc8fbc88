"""What a bot posts in the tests of the page: an incident card, one of every block, a modal with every input."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def option(text: str, value: str, description: str | None = None) -> Json:
    found: Json = {"text": plain(text), "value": value}
    if description:
        found["description"] = plain(description)
    return found


def button(text: str, action_id: str, **more: Any) -> Json:
    return {"type": "button", "text": plain(text), "action_id": action_id, "value": action_id, **more}


STEPS = ("Detect", "Acknowledge", "Triage", "Mitigate", "Communicate", "Learn")


def card(*, done: int = 1, errors: str = "31 %", now: int = 1_800_000_000) -> list[Json]:
    """The incident card after `done` of its six steps."""
    lines = [
        f":white_check_mark:  *{step}*  Maya Okafor, <!date^{now}^{{time}}|12:00>"
        if at < done
        else f":large_yellow_circle:  *{step}*  next"
        if at == done
        else f":white_circle:  {step}"
        for at, step in enumerate(STEPS)
    ]
    primary = ("Acknowledge", "ack") if done == 1 else ("Roll back to r40", "rollback")
    return [
        {
            "type": "header",
            "block_id": "title",
            "text": plain(":rotating_light: SEV2  llama-70b answers with errors after a deploy"),
        },
        {
            "type": "section",
            "block_id": "status",
            "text": mrkdwn("*Open*, in <#C0INFERENCE>. Paging <!subteam^S0RESPOND|@inference-oncall>."),
        },
        {
            "type": "section",
            "block_id": "fields",
            "fields": [
                mrkdwn(f"*Users' errors*\n{errors} of requests"),
                mrkdwn("*TTFT p99*\n1.9 s, was 0.3 s"),
                mrkdwn("*Recent change*\n`r41` two minutes ago"),
                mrkdwn("*GPUs*\n12 of 12 healthy"),
            ],
        },
        {"type": "section", "block_id": "steps", "text": mrkdwn("\n".join(lines))},
        {"type": "context", "block_id": "alerts", "elements": [mrkdwn(":bell: 214 alerts, the first 3 minutes ago")]},
        {
            "type": "actions",
            "block_id": "buttons",
            "elements": [
                button(*primary, style="primary"),
                button("Run a runbook", "runbook"),
                button(
                    "Resolve",
                    "resolve",
                    style="danger",
                    confirm={
                        "title": plain("Resolve while alerts still fire?"),
                        "text": mrkdwn(
                            "*214 alerts* are still firing. The incident pages again in 30 minutes if they go on."
                        ),
                        "confirm": plain("Resolve anyway"),
                        "deny": plain("Not yet"),
                        "style": "danger",
                    },
                ),
                {
                    "type": "overflow",
                    "action_id": "more",
                    "options": [
                        option("Change the severity", "sev"),
                        option("Add a note", "note"),
                        option("Hand over", "handover"),
                    ],
                },
            ],
        },
    ]


def gallery() -> list[Json]:
    """One of every other block and of the elements a message may hold."""
    return [
        {"type": "header", "block_id": "g-head", "text": plain("Health of llama-70b")},
        {
            "type": "alert",
            "block_id": "g-alert",
            "level": "error",
            "text": mrkdwn("*Bad deploy*: errors began 20 s after `r41`."),
        },
        {"type": "alert", "block_id": "g-alert2", "level": "success", "text": plain("No GPU is lost.")},
        {
            "type": "markdown",
            "block_id": "g-md",
            "text": "### What to do\n1. Roll back to **r40**\n2. Watch the _error rate_\n\n"
            "| signal | now |\n|---|---|\n| errors | 31 % |",
        },
        {
            "type": "rich_text",
            "block_id": "g-rich",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [
                        {"type": "text", "text": "Asked by "},
                        {"type": "user", "user_id": "U0MAYA"},
                        {"type": "text", "text": " in "},
                        {"type": "channel", "channel_id": "C0INCIDENTS"},
                        {"type": "text", "text": " bold", "style": {"bold": True}},
                    ],
                },
                {
                    "type": "rich_text_list",
                    "style": "bullet",
                    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "first point"}]}],
                },
                {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "vllm: OOM at block 12"}]},
                {"type": "rich_text_quote", "elements": [{"type": "text", "text": "It was fine on staging."}]},
            ],
        },
        {
            "type": "table",
            "block_id": "g-table",
            "column_settings": [{"is_wrapped": True}, {"align": "right"}],
            "rows": [
                [{"type": "raw_text", "text": "Signal"}, {"type": "raw_text", "text": "Now"}],
                [{"type": "raw_text", "text": "Queue"}, {"type": "raw_text", "text": "118"}],
            ],
        },
        {"type": "divider", "block_id": "g-rule"},
        {
            "type": "section",
            "block_id": "g-section",
            "text": mrkdwn("*Runbook*\nServe from cache while the model is down"),
            "accessory": button("Open", "open", url="https://example.com/runbook"),
        },
        {
            "type": "actions",
            "block_id": "g-actions",
            "elements": [
                {
                    "type": "static_select",
                    "action_id": "severity",
                    "placeholder": plain("Severity"),
                    "options": [option(f"SEV{n}", f"sev{n}") for n in range(1, 5)],
                },
            ],
        },
        {
            "type": "actions",
            "block_id": "g-people",
            "elements": [
                {"type": "users_select", "action_id": "commander", "placeholder": plain("Incident commander")},
                {"type": "datepicker", "action_id": "review", "initial_date": "2026-11-30"},
            ],
        },
    ]


def modal() -> Json:
    """A modal with one of every input."""

    def ask(block_id: str, label: str, element: Json, **more: Any) -> Json:
        return {
            "type": "input",
            "block_id": block_id,
            "label": plain(label),
            "element": {"action_id": "value", **element},
            **more,
        }

    severities = [
        option("SEV1", "sev1", "Everyone is affected"),
        option("SEV2", "sev2", "Many are affected"),
        option("SEV3", "sev3", "Few are affected"),
    ]
    return {
        "type": "modal",
        "callback_id": "declare",
        "title": plain("Declare an incident"),
        "submit": plain("Declare"),
        "close": plain("Cancel"),
        "blocks": [
            ask(
                "title",
                "What is broken?",
                {"type": "plain_text_input", "max_length": 80, "placeholder": plain("llama-70b answers with errors")},
                hint=plain("One line, as users would say it."),
            ),
            ask("severity", "Severity", {"type": "radio_buttons", "options": severities}),
            ask(
                "model",
                "Models",
                {
                    "type": "multi_static_select",
                    "placeholder": plain("Choose models"),
                    "options": [option("llama-70b", "llama"), option("mistral-small", "mistral")],
                },
                optional=True,
            ),
            ask(
                "commander",
                "Incident commander",
                {"type": "users_select", "placeholder": plain("Choose a person")},
                optional=True,
            ),
            ask("impact", "Impact", {"type": "plain_text_input", "multiline": True}, optional=True),
            ask(
                "share",
                "Tell",
                {
                    "type": "checkboxes",
                    "options": [option("Post to #general", "general"), option("Page the on-call", "page")],
                },
                optional=True,
            ),
            ask("when", "Started at", {"type": "datetimepicker"}, optional=True),
            ask(
                "requests",
                "Failed requests",
                {"type": "number_input", "is_decimal_allowed": False, "min_value": "0"},
                optional=True,
            ),
            ask("dashboard", "Dashboard", {"type": "url_text_input"}, optional=True),
        ],
    }
