/** The left side: the workspace, who I am, the channels. */

import { avatar } from "./avatar.js";
import { h, reconcile, replaceChildren } from "../dom.js";
import { icon, mark } from "../icons.js";
import { recall, remember } from "../memory.js";
import { themeToggle } from "./theme.js";

const INCIDENT = /^inc[-_]/;

/** Incident channels first, the newest on top; archived ones apart; the rest by name. */
export function sortChannels(channels) {
  const mine = channels.filter((channel) => channel.is_member || !channel.is_private);
  const newest = (a, b) => (b.created ?? 0) - (a.created ?? 0) || Number(b.last_ts ?? 0) - Number(a.last_ts ?? 0) || b.name.localeCompare(a.name);
  const live = mine.filter((channel) => !channel.is_archived);
  return {
    incidents: live.filter((channel) => INCIDENT.test(channel.name)).sort(newest),
    channels: live.filter((channel) => !channel.is_im && !INCIDENT.test(channel.name)).sort((a, b) => a.name.localeCompare(b.name)),
    apps: live.filter((channel) => channel.is_im),
    archived: mine.filter((channel) => channel.is_archived).sort(newest),
  };
}

function channelRow(app, channel) {
  const here = app.router.place.channel === channel.id;
  const unread = !here && channel.unread > 0;
  return h("li", {}, h("a", {
    class: `channel-row${unread ? " unread" : ""}${channel.is_member ? "" : " not-member"}`, href: app.router.href({ channel: channel.id }),
    "aria-current": here ? "page" : null, dataset: { channel: channel.id, focus: `channel/${channel.id}` },
  },
  channel.is_im ? mark(18) : icon(channel.is_private ? "lock" : INCIDENT.test(channel.name) ? "siren" : "hash", { size: 16 }),
  h("span", { class: "channel-name" }, channel.name),
  unread && (channel.mention
    ? h("span", { class: "badge badge-mention", "aria-label": `${channel.unread} new, you are mentioned` }, String(Math.min(channel.unread, 99)))
    : h("span", { class: "badge", "aria-label": `${channel.unread} new` }, String(Math.min(channel.unread, 99))))));
}

export function sidebar(app) {
  const name = h("span", { class: "team-name" });
  const sub = h("span", { class: "team-sub" }, "local workspace");
  const who = h("div", { class: "who" });
  const faces = h("div", { class: "faces", role: "radiogroup", "aria-label": "Act as" });
  const sections = ["incidents", "channels", "apps", "archived"].map((key) => ({ key, title: { incidents: "Incidents", channels: "Channels", apps: "Apps", archived: "Archived" }[key], list: h("ul", { class: "channel-list" }) }));
  for (const section of sections) {
    section.node = h("details", { class: "channel-section", open: section.key !== "archived" && recall(`section.${section.key}`, "open") === "open" },
      h("summary", {}, icon("chevron", { size: 13 }), section.title), section.list);
    section.node.addEventListener("toggle", () => remember(`section.${section.key}`, section.node.open ? "open" : "closed"));
  }

  function paintPeople() {
    const me = app.store.users.get(app.store.me);
    name.textContent = app.store.team.name;
    replaceChildren(who, avatar(me, 38), h("div", { class: "who-text" },
      h("span", { class: "who-name" }, me?.real_name ?? ""), h("span", { class: "who-title" }, me?.title || (me?.is_guest ? "Guest" : "Member"))));
    const people = [...app.store.users.values()].filter((user) => !user.is_bot);
    reconcile(faces, people.map((user) => ({
      key: user.id,
      sig: `${user.real_name}${user.title}${user.id === app.store.me}`,
      make: () => h("button", {
        type: "button", role: "radio", class: "face", "aria-checked": String(user.id === app.store.me), tabindex: user.id === app.store.me ? "0" : "-1",
        "aria-label": `Act as ${user.real_name}${user.title ? `, ${user.title}` : ""}`, title: `${user.real_name}${user.title ? ` · ${user.title}` : ""}`,
        dataset: { user: user.id, focus: `face/${user.id}` }, on: { click: () => app.become(user.id) },
      }, avatar(user, 30), user.is_guest && h("span", { class: "face-guest", "aria-hidden": "true" })),
    })));
  }

  faces.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...faces.children];
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    next.click();
  });

  function paintChannels() {
    const sorted = sortChannels([...app.store.channels.values()]);
    for (const section of sections) {
      section.node.hidden = section.key !== "channels" && !sorted[section.key].length;
      reconcile(section.list, sorted[section.key].map((channel) => ({
        key: channel.id,
        sig: `${channel.name}/${channel.unread}/${channel.mention}/${channel.is_member}/${app.router.place.channel === channel.id}/${app.store.me}`,
        make: () => channelRow(app, channel),
      })));
    }
    const unread = [...sorted.incidents, ...sorted.channels, ...sorted.apps].reduce((sum, channel) => sum + (app.router.place.channel === channel.id ? 0 : channel.unread), 0);
    const here = app.store.channels.get(app.router.place.channel);
    document.title = `${unread ? `(${unread}) ` : ""}${here ? `#${here.name} · ` : ""}${app.store.team.name || "FixFirst workbench"}`;
  }

  app.store.on("ready", paintPeople);
  app.store.on("channels", () => { paintPeople(); paintChannels(); });
  app.router.on("moved", paintChannels);

  const state = h("span", { class: "connection", role: "status" });
  app.store.on("connection", () => {
    state.textContent = app.store.connected ? "" : "Reconnecting…";
    document.body.classList.toggle("offline", !app.store.connected);
  });

  return h("nav", { class: "sidebar", "aria-label": "Workspace" },
    h("header", { class: "team" }, mark(30), h("div", { class: "team-text" }, name, sub), themeToggle()),
    h("section", { class: "persona", "aria-label": "Who you are" }, h("h2", { class: "persona-label" }, "You are"), who, faces),
    h("div", { class: "channel-scroll" }, sections.map((section) => section.node)),
    h("footer", { class: "side-foot" }, state, h("p", {}, "Everything here runs on this machine.")));
}
