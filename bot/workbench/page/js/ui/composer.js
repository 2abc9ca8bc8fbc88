/** The box in which messages and slash commands are written. */

import { completionsAt, mentionables } from "./completion.js";
import { h, replaceChildren, uid } from "../dom.js";
import { icon } from "../icons.js";
import { openEmojiPicker } from "./reactions.js";
import { openPopover } from "./popover.js";

const WRAPS = [["bold", "*", "Bold"], ["italic", "_", "Italic"], ["strike", "~", "Strikethrough"], ["code", "`", "Code"]];
const LINES = [["quote", "> ", "Quote"], ["list", "• ", "List"]];

const SPECIAL = /[.*+?^${}()|[\]\\]/g;

/**
 * What was typed, with people named by the token that Slack stores; a command gets their short names instead,
 * as it is the app's manifest that says whether names in commands become tokens. The server escapes the rest.
 */
export function encode(store, typed) {
  const people = mentionables(store).filter((entry) => entry.user).sort((a, b) => b.typed.length - a.typed.length);
  const command = typed.startsWith("/");
  return people.reduce((text, { typed: name, token, user }) => text.replaceAll(
    new RegExp(`(^|[\\s(])${name.replace(SPECIAL, "\\$&")}(?![\\w-])`, "g"), (_, lead) => lead + (command ? `@${user.name}` : token)), typed);
}

/** {node, focus(), setPlaceholder(text)}; `onSend(text)` resolves to whether it was sent. */
export function composer(app, { label, onSend }) {
  const listId = uid("completion");
  const area = h("textarea", {
    class: "composer-text", rows: 1, "aria-label": label, placeholder: label, autocomplete: "off", spellcheck: "true",
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": listId,
    on: { input: changed, keydown, click: changed, blur: () => setTimeout(close, 120) },
  });
  const send = h("button", { type: "button", class: "send", "aria-label": "Send", title: "Send (Enter)", disabled: true, on: { click: submit } }, icon("send", { size: 17 }));
  const smile = h("button", { type: "button", class: "icon-btn", "aria-label": "Emoji", title: "Emoji", on: { click: () => openEmojiPicker(smile, (name) => insert(`:${name}: `)) } }, icon("smile"));
  const node = h("div", { class: "composer" },
    h("div", { class: "composer-tools", role: "toolbar", "aria-label": "Formatting" },
      WRAPS.map(([name, mark, title]) => tool(name, title, () => wrap(mark))), h("span", { class: "tool-gap" }), LINES.map(([name, mark, title]) => tool(name, title, () => prefix(mark)))),
    area,
    h("div", { class: "composer-foot" },
      tool("slash", "Commands", () => start("/")), tool("at", "Mention someone", () => insert("@")), smile,
      h("span", { class: "composer-hint" }, h("kbd", {}, "/"), " for commands, ", h("kbd", {}, "Shift"), " ", h("kbd", {}, "Enter"), " for a new line"), send));

  let menu = null; // {popover, box, completions, active}
  let sending = false;

  function tool(name, title, run) {
    return h("button", { type: "button", class: "icon-btn", "aria-label": title, title, tabindex: "-1", on: { mousedown: (event) => event.preventDefault(), click: run } }, icon(name, { size: 16 }));
  }

  function grow() {
    area.style.setProperty("height", "auto");
    area.style.setProperty("height", `${Math.min(area.scrollHeight, 260)}px`);
  }

  function changed() {
    grow();
    send.disabled = sending || !area.value.trim();
    const completions = document.activeElement === area && area.selectionStart === area.selectionEnd ? completionsAt(app.store, area.value, area.selectionStart) : null;
    if (!completions) close();
    else show(completions);
  }

  function show(completions) {
    if (!menu) {
      const box = h("div", { class: "completion", id: listId, role: "listbox" });
      const popover = openPopover(node, box, { matchWidth: true, keepFocus: true, above: true, onClose: () => { menu = null; area.setAttribute("aria-expanded", "false"); area.removeAttribute("aria-activedescendant"); } });
      menu = { popover, box, active: 0 };
      area.setAttribute("aria-expanded", "true");
    }
    const same = menu.completions && menu.completions.items.map((item) => item.label).join() === completions.items.map((item) => item.label).join();
    menu.completions = completions;
    if (!same) menu.active = Math.max(0, completions.items.findIndex((item) => item.exact));
    paint();
  }

  function paint() {
    const { box, completions } = menu;
    box.setAttribute("aria-label", completions.title);
    replaceChildren(box,
      h("div", { class: "completion-head" }, h("span", {}, completions.title), h("span", { class: "completion-keys" }, h("kbd", {}, "↑"), h("kbd", {}, "↓"), " move ", h("kbd", {}, "Tab"), " complete ", h("kbd", {}, "Esc"), " close")),
      completions.items.map((item, at) => h("div", {
        class: "option", role: "option", id: `${listId}-${at}`, "aria-selected": String(at === menu.active), dataset: { active: at === menu.active ? "true" : null },
        on: { mousedown: (event) => { event.preventDefault(); take(at); } },
      }, item.lead(), h("span", { class: "completion-word" }, item.label), item.hint && h("span", { class: "completion-hint" }, item.hint), item.detail && h("span", { class: "completion-detail" }, item.detail))));
    area.setAttribute("aria-activedescendant", `${listId}-${menu.active}`);
    box.querySelector("[data-active]")?.scrollIntoView({ block: "nearest" });
    menu.popover.place();
  }

  function close() {
    menu?.popover.close();
  }

  function take(at) {
    const { completions } = menu;
    const rest = area.value.slice(area.selectionStart);
    const head = area.value.slice(0, completions.from) + completions.items[at].insert;
    area.value = head + rest.replace(/^ /, "");
    area.setSelectionRange(head.length, head.length);
    area.focus();
    close();
    changed();
  }

  function keydown(event) {
    if (event.isComposing) return;
    if (menu) {
      const { items } = menu.completions;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        menu.active = (menu.active + step + items.length) % items.length;
        paint();
        return;
      }
      // A word typed in full is sent by Enter; a part of a word is completed.
      if ((event.key === "Tab" && !event.shiftKey) || (event.key === "Enter" && !event.shiftKey && !items[menu.active].exact)) {
        event.preventDefault();
        take(menu.active);
        return;
      }
    }
    const wrapKey = (event.ctrlKey || event.metaKey) && { b: "*", i: "_" }[event.key];
    if (wrapKey) {
      event.preventDefault();
      wrap(wrapKey);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    }
  }

  function put(text, from, to, caret) {
    area.focus();
    area.setSelectionRange(from, to);
    // Keeps the browser's undo, which setting the value would lose.
    if (!document.execCommand("insertText", false, text)) area.setRangeText(text, from, to, "end");
    if (caret !== undefined) area.setSelectionRange(...caret);
    changed();
  }

  const insert = (text) => put(text, area.selectionStart, area.selectionEnd);

  function start(text) {
    if (area.value.startsWith(text)) area.focus();
    else put(text, 0, 0, [text.length, text.length]);
    changed();
  }

  function wrap(mark) {
    const { selectionStart: from, selectionEnd: to } = area;
    const inside = area.value.slice(from, to);
    put(`${mark}${inside}${mark}`, from, to, [from + 1, to + 1]);
  }

  function prefix(mark) {
    const from = area.value.lastIndexOf("\n", area.selectionStart - 1) + 1;
    const to = area.selectionEnd;
    put(area.value.slice(from, to).split("\n").map((line) => mark + line).join("\n"), from, to);
  }

  async function submit() {
    const text = area.value.trim();
    if (!text || sending) return;
    sending = true;
    node.setAttribute("aria-busy", "true");
    area.value = "";
    close();
    changed();
    const sent = await onSend(text);
    sending = false;
    node.removeAttribute("aria-busy");
    if (!sent && !area.value) area.value = text;
    changed();
  }

  return {
    node,
    focus: () => area.focus({ preventScroll: true }),
    setLabel: (text) => { area.placeholder = text; area.setAttribute("aria-label", text); },
  };
}
