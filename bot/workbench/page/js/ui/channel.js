/** The middle: one channel's header, its messages and the composer. */

import { composer } from "./composer.js";
import { h, replaceChildren } from "../dom.js";
import { icon } from "../icons.js";
import { messageList } from "./message_list.js";
import { mrkdwnInline } from "../text/render.js";
import { avatar } from "./avatar.js";
import { openMenu } from "./menu.js";

export function channelView(app) {
  const header = h("header", { class: "channel-head" });
  const body = h("div", { class: "channel-body" });
  const box = composer(app, { label: "Message", onSend: (text) => app.say(app.router.place.channel, text) });
  const node = h("main", { class: "channel", id: "channel" }, header, body, h("div", { class: "composer-place" }, box.node));
  let list = null;
  let shown = null;
  let newAfter;
  let revealed = null;

  function open() {
    const id = app.router.place.channel;
    const channel = app.store.channels.get(id);
    const key = `${app.store.me}/${id}`;
    if (!channel) {
      replaceChildren(header, h("div", {}, h("h1", { class: "channel-title" }, "Choose a channel")));
      replaceChildren(body);
      shown = null;
      return;
    }
    if (shown !== key) {
      shown = key;
      list = messageList(app, id, { label: `Messages in #${channel.name}`, onBottom: () => app.read(id) });
      replaceChildren(body, list.node);
      newAfter = firstUnread(channel);
      if (app.store.messages.has(id)) draw();
      app.loadMessages(id);
      // Whoever switches persons by keyboard stays there.
      if (!document.activeElement?.closest(".persona")) box.focus();
    }
    paintHeader(channel);
  }

  /** The "New" line stands before the first message that was unread when the channel was opened. */
  function firstUnread(channel) {
    if (!channel.unread) return undefined;
    const messages = app.store.messages.get(channel.id);
    if (!messages) return { count: channel.unread };
    return { after: Number(messages[messages.length - channel.unread - 1]?.ts ?? 0) };
  }

  function draw() {
    const id = app.router.place.channel;
    const channel = app.store.channels.get(id);
    const messages = app.store.messages.get(id);
    if (!channel || !messages || !list) return;
    if (newAfter?.count) newAfter = { after: Number(messages[messages.length - newAfter.count - 1]?.ts ?? 0) };
    list.draw(messages, { newAfter: newAfter?.after, intro: intro(channel, messages.length) });
    const wanted = app.router.place.message;
    if (wanted && wanted !== revealed && list.reveal(wanted)) revealed = wanted;
    if (list.atBottom()) app.read(id);
  }

  function intro(channel, count) {
    return {
      key: "intro", sig: `${channel.name}/${channel.purpose}/${count === 0}`,
      make: () => h("div", { class: "intro" }, h("span", { class: "intro-icon" }, icon(channel.is_private ? "lock" : "hash", { size: 26 })), h("h2", {}, `#${channel.name}`),
        h("p", {}, channel.purpose ? mrkdwnInline(app, channel.purpose) : "This is the very beginning of this channel.")),
    };
  }

  function paintHeader(channel) {
    const members = channel.members ?? [];
    const people = h("button", {
      type: "button", class: "members", "aria-haspopup": "menu", "aria-expanded": "false", title: "Members",
      "aria-label": `${members.length || channel.num_members || 0} members`, hidden: !members.length,
      on: { click: () => openMenu(people, members.map((id) => app.store.users.get(id)).filter(Boolean).map((user) => ({ label: user.real_name, detail: user.is_bot ? "App" : user.title, lead: avatar(user, 24) }))) },
    }, members.slice(0, 3).map((id) => avatar(app.store.users.get(id), 22)), h("span", {}, String(members.length)));
    replaceChildren(header,
      h("div", { class: "channel-id" },
        h("h1", { class: "channel-title" }, icon(channel.is_private ? "lock" : "hash", { size: 18 }), h("span", {}, channel.name), channel.is_archived && h("span", { class: "app-badge" }, "ARCHIVED")),
        channel.topic && h("p", { class: "channel-topic", title: channel.topic }, mrkdwnInline(app, channel.topic))),
      people,
      h("button", { type: "button", class: "icon-btn fleet-toggle", "aria-pressed": String(app.fleetOpen()), "aria-label": "Fleet panel", title: "Fleet panel", on: { click: () => app.toggleFleet() } }, icon("panel"), h("span", {}, "Fleet")));
    box.setLabel(`Message #${channel.name}`);
    box.node.classList.toggle("composer-off", channel.is_archived);
  }

  app.router.on("moved", (before) => {
    if (before.message !== app.router.place.message) revealed = null;
    open();
    draw();
  });
  app.store.on("ready", () => { shown = null; });
  app.store.on("channels", () => open());
  app.store.on("messages", ({ channel }) => { if (channel === app.router.place.channel) draw(); });
  app.store.on("fleet", () => open());
  document.addEventListener("visibilitychange", () => { if (!document.hidden && list?.atBottom()) app.read(app.router.place.channel); });
  return node;
}
