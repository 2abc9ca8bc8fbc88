/** The right side, when a thread is open: its first message, the replies, a composer. */

import { composer } from "./composer.js";
import { h, replaceChildren } from "../dom.js";
import { icon } from "../icons.js";
import { messageList } from "./message_list.js";

export function threadView(app) {
  const title = h("div", { class: "thread-title" });
  const body = h("div", { class: "channel-body" });
  const box = composer(app, { label: "Reply…", onSend: (text) => app.say(app.router.place.channel, text, app.router.place.thread) });
  const close = h("button", { type: "button", class: "icon-btn", "aria-label": "Close thread", title: "Close thread", on: { click: () => app.router.go({ thread: null }) } }, icon("close"));
  const node = h("aside", { class: "thread", "aria-label": "Thread", hidden: true, on: { keydown: (event) => { if (event.key === "Escape" && !event.defaultPrevented) app.router.go({ thread: null }); } } },
    h("header", { class: "channel-head" }, title, close), body, h("div", { class: "composer-place" }, box.node));
  let list = null;
  let shown = null;

  function open() {
    const { channel, thread } = app.router.place;
    const known = app.store.channels.get(channel);
    const key = thread && known ? `${app.store.me}/${channel}:${thread}` : null;
    if (key === shown) return;
    if (shown) app.store.closeThread(...shown.split("/")[1].split(":"));
    shown = key;
    node.hidden = !key;
    app.root.dataset.thread = key ? "open" : "closed";
    if (!key) return;
    replaceChildren(title, h("h2", {}, "Thread"), h("span", {}, `#${known.name}`));
    list = messageList(app, channel, { inThread: true, label: "Thread" });
    replaceChildren(body, list.node);
    const parent = app.store.message(channel, thread);
    if (parent) list.draw([parent]);
    app.loadThread(channel, thread);
    box.focus();
  }

  app.router.on("moved", open);
  app.store.on("ready", () => { shown = null; });
  app.store.on("channels", open);
  app.store.on("thread", ({ channel, ts }) => {
    if (channel === app.router.place.channel && ts === app.router.place.thread) list?.draw(app.store.threads.get(`${channel}:${ts}`) ?? []);
  });
  return node;
}
