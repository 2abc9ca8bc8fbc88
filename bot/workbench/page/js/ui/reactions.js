/** Reactions: the chips below a message and the picker. */

import { emoji, EMOJI_NAMES } from "../text/emoji.js";
import { h, replaceChildren } from "../dom.js";
import { icon } from "../icons.js";
import { openPopover } from "./popover.js";

export const QUICK = ["white_check_mark", "pushpin", "eyes"];

export function reactionChips(app, channel, message) {
  return h("div", { class: "reactions" }, (message.reactions ?? []).map((reaction) => {
    const mine = reaction.users.includes(app.store.me);
    const names = reaction.users.map((id) => app.store.users.get(id)?.real_name ?? id).join(", ");
    return h("button", {
      type: "button", class: "reaction", "aria-pressed": String(mine), title: `${names} reacted with :${reaction.name}:`,
      "aria-label": `${reaction.name}, ${reaction.count}. ${mine ? "Take yours away" : "React too"}`, dataset: { focus: `reaction/${reaction.name}` },
      on: { click: () => app.react(channel, message, reaction.name, !mine) },
    }, emoji(reaction.name, { decorative: true }), h("span", {}, String(reaction.count)));
  }));
}

/** A searchable grid of emoji; `onPick(name)`. */
export function openEmojiPicker(anchor, onPick) {
  const grid = h("div", { class: "emoji-grid", role: "listbox", "aria-label": "Emoji" });
  const search = h("input", { class: "listbox-search", type: "text", placeholder: "Search emoji", "aria-label": "Search emoji", on: { input: draw, keydown } });
  const box = h("div", { class: "emoji-picker", role: "dialog", "aria-label": "Pick an emoji" }, search, grid);
  const pick = (name) => { popover.close(); onPick(name); };
  function keydown(event) {
    if (event.key === "Enter" && grid.firstElementChild) {
      event.preventDefault();
      grid.firstElementChild.click();
    }
  }
  function draw() {
    const wanted = search.value.trim().toLowerCase().replace(/:/g, "");
    const names = EMOJI_NAMES.filter((name) => name.includes(wanted));
    replaceChildren(grid, names.length
      ? names.map((name) => h("button", { type: "button", class: "emoji-cell", role: "option", title: `:${name}:`, "aria-label": name, on: { click: () => pick(name) } }, emoji(name, { decorative: true })))
      : h("p", { class: "listbox-empty" }, "No match"));
  }
  draw();
  const popover = openPopover(anchor, box, { align: "end" });
  search.focus({ preventScroll: true });
}

/** The row of actions that appears on the message under the pointer or the focus. */
export function hoverBar(app, channel, message, { inThread }) {
  const more = h("button", { type: "button", class: "icon-btn", "aria-label": "Add another reaction", title: "Add reaction", on: { click: () => openEmojiPicker(more, (name) => app.react(channel, message, name, true)) } }, icon("smile"));
  return h("div", { class: "hover-bar", role: "toolbar", "aria-label": "Message actions" },
    QUICK.map((name) => h("button", {
      type: "button", class: "icon-btn", "aria-label": `React with ${name}`, title: `:${name}:`, dataset: { react: name },
      on: { click: () => app.react(channel, message, name, !message.reactions?.some((entry) => entry.name === name && entry.users.includes(app.store.me))) },
    }, emoji(name, { decorative: true }))),
    more,
    !inThread && h("a", { class: "icon-btn", href: app.router.href({ channel, thread: message.thread_ts ?? message.ts }), "aria-label": "Reply in thread", title: "Reply in thread", dataset: { reply: "true" } }, icon("thread")));
}
