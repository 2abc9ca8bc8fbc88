/** Draws parsed mrkdwn, plain text and mentions as DOM nodes. */

import { h } from "../dom.js";
import { dateTokens, full } from "../time.js";
import { DRAWN_CHARACTERS, emoji, emojiOfCharacter } from "./emoji.js";
import { inline, parse } from "./mrkdwn.js";

/** Running text, in which characters that we draw ourselves become pictures. */
export function textNodes(text) {
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(DRAWN_CHARACTERS)) {
    if (match.index > last) nodes.push(text.slice(last, match.index));
    nodes.push(emoji(emojiOfCharacter(match[1])));
    last = match.index + match[0].length;
  }
  if (last < text.length) nodes.push(text.slice(last));
  return nodes;
}

const PERMALINK = /^\/archives\/([A-Z0-9]+)\/p(\d+)(\d{6})$/;

/** A link; one to a message of this workspace opens it here. */
export function externalLink(href, ...children) {
  const at = URL.canParse(href) && new URL(href);
  const [, channel, seconds, rest] = (at.origin === location.origin && at.pathname.match(PERMALINK)) || [];
  if (channel) return h("a", { class: "link", href: `#/${channel}/${seconds}.${rest}` }, ...children);
  return h("a", { class: "link", href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** A person's name as a chip; mine stands out. */
export function userMention(app, id, label) {
  const user = app.store.users.get(id);
  const mine = id === app.store.me;
  return h("span", { class: mine ? "mention mention-me" : "mention", title: user?.title || null }, `@${user?.real_name || user?.name || label || id}`);
}

export function channelMention(app, id, label) {
  const channel = app.store.channels.get(id);
  const name = channel?.name ?? label;
  if (!name) return h("span", { class: "mention" }, "#private-channel");
  return h("a", { class: "mention mention-link", href: app.router.href({ channel: id }) }, `#${name}`);
}

export function groupMention(app, id, label) {
  const mine = app.store.usergroups.get(id)?.users.includes(app.store.me);
  const handle = label ?? app.store.usergroups.get(id)?.handle ?? id;
  return h("span", { class: mine ? "mention mention-me" : "mention" }, handle.startsWith("@") ? handle : `@${handle}`);
}

export const broadcast = (range) => h("span", { class: "mention mention-me" }, `@${range}`);

export function dateNode({ ts, pattern, href, fallback }) {
  const text = dateTokens(ts, pattern) || fallback;
  const time = h("time", { class: "date", datetime: new Date(Number(ts) * 1000).toISOString(), title: full(ts) }, text);
  return href ? externalLink(href, time) : time;
}

const WRAP = { bold: "strong", italic: "em", strike: "s" };

function draw(app, node) {
  switch (node.t) {
    case "text": return textNodes(node.v);
    case "br": return h("br");
    case "code": return h("code", { class: "code" }, node.v);
    case "bold": case "italic": case "strike": return h(WRAP[node.t], {}, node.c.map((child) => draw(app, child)));
    case "emoji": return emoji(node.name);
    case "link": return externalLink(node.href, node.label ? inline(node.label).map((child) => draw(app, child)) : node.href);
    case "user": return userMention(app, node.id, node.label);
    case "channel": return channelMention(app, node.id, node.label);
    case "group": return groupMention(app, node.id, node.label);
    case "broadcast": return broadcast(node.range);
    case "date": return dateNode(node);
    default: throw new TypeError(`unknown mrkdwn node ${node.t}`);
  }
}

function drawBlock(app, node) {
  switch (node.t) {
    case "p": return h("p", { class: "para" }, node.c.map((child) => draw(app, child)));
    case "pre": return h("pre", { class: "pre" }, node.v);
    case "quote": return h("blockquote", { class: "quote" }, node.c.map((child) => drawBlock(app, child)));
    case "list":
      return h(node.ordered ? "ol" : "ul", { class: "list", start: node.ordered && node.start > 1 ? node.start : null },
        node.items.map((item) => h("li", {}, item.map((child) => draw(app, child)))));
    default: throw new TypeError(`unknown mrkdwn block ${node.t}`);
  }
}

/** Full mrkdwn, as in a message or a section. */
export function mrkdwn(app, text) {
  return h("div", { class: "mrkdwn" }, parse(text ?? "").map((block) => drawBlock(app, block)));
}

/** mrkdwn on one line, as in a context element or a channel topic. */
export function mrkdwnInline(app, text) {
  return h("span", { class: "mrkdwn-inline" }, inline(text ?? "").map((node) => draw(app, node)));
}

const SHORTCODES = /:([a-z0-9_+-]+):/gi;

/** plain_text: no formatting, only shortcodes and line breaks. */
export function plain(text, { emojis = true } = {}) {
  const nodes = [];
  (text ?? "").split("\n").forEach((line, index) => {
    if (index) nodes.push(h("br"));
    let last = 0;
    if (emojis) {
      for (const match of line.matchAll(SHORTCODES)) {
        if (match.index > last) nodes.push(...textNodes(line.slice(last, match.index)));
        nodes.push(emoji(match[1]));
        last = match.index + match[0].length;
      }
    }
    if (last < line.length) nodes.push(...textNodes(line.slice(last)));
  });
  return h("span", { class: "plain" }, nodes);
}

/** A Slack text object ({type: "plain_text" | "mrkdwn", text}). */
export function textObject(app, object, { oneLine = false } = {}) {
  if (!object) return null;
  if (object.type === "mrkdwn") return oneLine ? mrkdwnInline(app, object.text) : mrkdwn(app, object.text);
  return plain(object.text, { emojis: object.emoji !== false });
}

/** The words of a text, without any formatting: for titles, filters and screen readers. */
export function words(app, text) {
  const of = (node) => {
    if (node.c) return node.c.map(of).join("");
    if (node.t === "text" || node.t === "code") return node.v;
    if (node.t === "br") return " ";
    return draw(app, node).textContent ?? "";
  };
  return inline((text ?? "").replace(/```/g, "")).map(of).join("");
}
