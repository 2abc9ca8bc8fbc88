/** A scrolling list of messages: grouped by author, split by days, kept still while it changes. */

import { author, authorKey, isQuiet, messageRow } from "./message.js";
import { dayKey, dayName } from "../time.js";
import { h, reconcile } from "../dom.js";
import { hoverBar } from "./reactions.js";
import { icon } from "../icons.js";

const GROUP_SECONDS = 300;
const NEAR_BOTTOM_PX = 80;
const ROOM_PX = 18;
const FLASH_MS = 2_200;

/** {node, draw(messages, {newAfter?, intro?}), toBottom(), atBottom(), reveal(ts)}. */
export function messageList(app, channel, { inThread = false, label, onBottom }) {
  const rows = new Map();
  const inner = h("div", { class: "list-inner", role: "log", "aria-label": label, "aria-live": "polite", "aria-relevant": "additions" });
  const newer = h("button", { type: "button", class: "newer", hidden: true, on: { click: () => toBottom() } }, "New messages", icon("chevron", { size: 13 }));
  const node = h("div", { class: "message-list", tabindex: "-1" }, inner, newer);
  let sticky = true;
  let put = 0; // how far down we scrolled last
  let newest = "";
  let bar = null;

  node.addEventListener("scroll", () => {
    sticky = atBottom();
    if (sticky) newer.hidden = true;
    if (sticky) onBottom?.();
  }, { passive: true });

  // Pictures and fonts that load late must not push the newest message out of sight.
  new ResizeObserver(() => { if (follows()) toBottom(); }).observe(inner);
  new ResizeObserver(() => { if (follows()) toBottom(); }).observe(node);

  for (const event of ["mouseover", "focusin"]) inner.addEventListener(event, (at) => showBar(at.target.closest(".msg")));
  node.addEventListener("mouseleave", () => { if (!bar?.node.contains(document.activeElement)) hideBar(); });
  inner.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.classList.contains("msg")) return;
    event.preventDefault();
    const all = [...inner.querySelectorAll(".msg")];
    const next = all[all.indexOf(event.target) + step];
    next?.focus();
  });

  function showBar(row) {
    if (!row || bar?.row === row) return;
    const message = rows.get(row.dataset.ts)?.current();
    hideBar();
    if (!message || message.ephemeral || isQuiet(message)) return;
    bar = { row, node: hoverBar(app, channel, message, { inThread }) };
    bar.node.classList.toggle("hover-bar-low", row.getBoundingClientRect().top - node.getBoundingClientRect().top < ROOM_PX);
    row.append(bar.node);
  }

  function hideBar() {
    bar?.node.remove();
    bar = null;
  }

  const atBottom = () => node.scrollHeight - node.scrollTop - node.clientHeight < NEAR_BOTTOM_PX;

  /** Whether the newest message is to stay in sight; not when somebody scrolls up just now, of which no event tells yet. */
  function follows() {
    if (node.scrollTop < put && !atBottom()) sticky = false;
    return sticky;
  }

  function toBottom() {
    node.scrollTop = node.scrollHeight;
    put = node.scrollTop;
    sticky = true;
    newer.hidden = true;
  }

  /** The first row in sight, so that it can be put back where it was. */
  function anchor() {
    const top = node.getBoundingClientRect().top;
    const row = [...inner.children].find((child) => child.getBoundingClientRect().bottom > top);
    return row && { row, at: row.getBoundingClientRect().top };
  }

  function draw(messages, { newAfter, intro } = {}) {
    const held = follows() ? null : anchor();
    const items = [];
    if (intro) items.push(intro);
    let before = null;
    let newShown = false;
    messages.forEach((message, at) => {
      const day = dayKey(message.ts);
      const newDay = !before || dayKey(before.ts) !== day;
      if (newDay && !inThread) items.push({ key: `day/${day}`, sig: dayName(message.ts), make: () => h("div", { class: "day", role: "separator" }, h("span", {}, dayName(message.ts))) });
      const isNew = newAfter !== undefined && !newShown && Number(message.ts) > newAfter && message.user !== app.store.me;
      if (isNew) {
        newShown = true;
        items.push({ key: "new", sig: "new", make: () => h("div", { class: "day day-new", role: "separator" }, h("span", {}, "New")) });
      }
      if (inThread && at === 1) {
        const count = messages.length - 1;
        items.push({ key: "count", sig: String(count), make: () => h("div", { class: "thread-count" }, h("span", {}, `${count} ${count === 1 ? "reply" : "replies"}`)) });
      }
      const grouped = !newDay && !isNew && !(inThread && at === 1) && authorKey(before) === authorKey(message) && !isQuiet(before) && !isQuiet(message)
        && !before.pinned && !message.pinned && Number(message.ts) - Number(before.ts) < GROUP_SECONDS && !message.blocks?.some((block) => block.type === "header");
      items.push({
        key: message.ts,
        sig: JSON.stringify([message, grouped, author(app, message), app.store.me]),
        make: () => {
          if (!rows.has(message.ts)) rows.set(message.ts, messageRow(app, channel));
          const row = rows.get(message.ts);
          row.update(message, { grouped, inThread });
          if (bar?.row === row.node) { hideBar(); showBar(row.node); }
          return row.node;
        },
      });
      before = message;
    });
    reconcile(inner, items);
    const present = new Set(messages.map((message) => message.ts));
    for (const ts of rows.keys()) if (!present.has(ts)) rows.delete(ts);
    const all = inner.querySelectorAll(".msg");
    all.forEach((row, at) => { row.tabIndex = at === all.length - 1 ? 0 : -1; });
    const last = messages.at(-1)?.ts ?? "";
    if (sticky) toBottom();
    else if (newest && last > newest) newer.hidden = false;
    newest = last;
    if (held?.row.isConnected) node.scrollTop += held.row.getBoundingClientRect().top - held.at;
  }

  /** Brings one message into sight and marks it for a moment; false if it is not in the list. */
  function reveal(ts) {
    const row = rows.get(ts)?.node;
    if (!row) return false;
    sticky = false;
    row.scrollIntoView({ block: "center" });
    row.classList.add("msg-found");
    setTimeout(() => row.classList.remove("msg-found"), FLASH_MS);
    return true;
  }

  return { node, draw, toBottom, atBottom, reveal };
}
