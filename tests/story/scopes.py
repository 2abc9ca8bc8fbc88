"""What each Web API method we call asks of the app: the contract behind the manifest's list of scopes.

From the methods' own pages, https://docs.slack.dev/reference/methods ; for public channels, which is where we work.
"""

from collections.abc import Mapping

SCOPES: Mapping[str, str] = {
    "apps.connections.open": "",  # takes the app's own token, with connections:write
    "auth.test": "",
    "chat.getPermalink": "",
    "chat.postEphemeral": "chat:write",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.create": "channels:manage",
    "conversations.history": "channels:history",
    "conversations.invite": "channels:manage",
    "conversations.list": "channels:read",
    "conversations.replies": "channels:history",
    "conversations.setPurpose": "channels:manage",
    "conversations.setTopic": "channels:manage",
    "files.completeUploadExternal": "files:write",
    "files.getUploadURLExternal": "files:write",
    "pins.add": "pins:write",
    "usergroups.users.list": "usergroups:read",
    "users.info": "users:read",
    "views.open": "",
    "views.update": "",
}
EVENTS: Mapping[str, str] = {"app_mention": "app_mentions:read", "reaction_added": "reactions:read"}
"""What a subscription asks for."""
COMMANDS = "commands"
