/** One message: author, text or blocks, attachments, reactions, thread. Redrawn in place, part by part. */

import { ago, clock, full } from "../time.js";
import { avatar } from "./avatar.js";
import { drawBlocks } from "../blocks/index.js";
import { Form } from "../elements/form.js";
import { h, reconcile, replaceChildren } from "../dom.js";
import { icon } from "../icons.js";
import { mrkdwn, words } from "../text/render.js";
import { reactionChips } from "./reactions.js";

const COLOURS = { good: "#1f9d63", warning: "#d9902f", danger: "#d43b32" };
const QUIET = /^(?:(?:channel|group)_(?:join|leave|topic|purpose|name|archive|unarchive)|tombstone)$/;
const SLACKBOT = { id: "USLACKBOT", real_name: "Slackbot", color: "757575" };

export function author(app, message) {
  const user = app.store.users.get(message.user ?? app.store.bot.user_id);
  if (message.bot_id && !user?.is_bot) {
    return { id: message.bot_id, real_name: message.username ?? app.store.bot.name ?? "App", is_bot: true };
  }
  if (message.user === SLACKBOT.id) return SLACKBOT;
  return user ?? { id: message.user ?? "?", real_name: message.username ?? message.user ?? "Unknown" };
}

/** Who wrote it, as one comparable word: neighbours with the same are grouped. */
export const authorKey = (message) => `${message.user ?? message.bot_id ?? message.username}/${Boolean(message.ephemeral)}`;

export const isQuiet = (message) => QUIET.test(message.subtype ?? "");

function context(app, channel, message, form) {
  return {
    app,
    form,
    dispatch: (block, element, value) => app.act({
      container: { type: "message", channel, ts: message.ts }, block_id: block.block_id, action_id: element.action_id, type: element.type, ...value, state: { values: form.toJSON() },
    }),
  };
}

function attachment(app, entry, ctx) {
  const colour = COLOURS[entry.color] ?? (/^#?[0-9a-f]{6}$/i.test(entry.color ?? "") ? `#${entry.color.replace("#", "")}` : null);
  const node = h("div", { class: "attachment", vars: colour ? { "--bar": colour } : {} });
  if (entry.blocks?.length) {
    drawBlocks(node, entry.blocks, ctx);
    return node;
  }
  replaceChildren(node,
    entry.pretext && mrkdwn(app, entry.pretext), entry.title && h("p", { class: "attachment-title" }, mrkdwn(app, entry.title_link ? `<${entry.title_link}|${entry.title}>` : entry.title)),
    (entry.text || entry.fallback) && mrkdwn(app, entry.text ?? entry.fallback),
    entry.fields?.length && h("div", { class: "fields" }, entry.fields.map((field) => h("div", { class: "field-cell" }, h("strong", {}, field.title), mrkdwn(app, field.value)))),
    entry.footer && h("p", { class: "context-text" }, entry.footer));
  return node;
}

function threadFooter(app, channel, message) {
  if (!message.reply_count) return null;
  return h("a", { class: "thread-foot", href: app.router.href({ channel, thread: message.ts }), dataset: { focus: "thread" } },
    (message.reply_users ?? []).slice(0, 4).map((id) => avatar(author(app, id.startsWith("B") ? { bot_id: id } : { user: id }), 22)),
    h("strong", {}, `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`),
    message.latest_reply && h("span", {}, `Last reply ${ago(message.latest_reply)}`));
}

/** A row of the list: {node, update(message, look)}. `look` = {grouped, inThread}. */
export function messageRow(app, channel) {
  const face = h("div", { class: "msg-face" });
  const head = h("div", { class: "msg-head" });
  const body = h("div", { class: "msg-body" });
  const extra = h("div", { class: "msg-attachments" });
  const foot = h("div", { class: "msg-foot" });
  const node = h("article", { class: "msg", tabindex: "-1" }, face, h("div", { class: "msg-main" }, head, body, extra, foot));
  const form = new Form();
  let shown = {};

  function update(message, look) {
    const who = author(app, message);
    node.dataset.ts = message.ts;
    node.className = `msg${look.grouped ? " msg-grouped" : ""}${message.ephemeral ? " msg-ephemeral" : ""}${isQuiet(message) ? " msg-quiet" : ""}${message.pinned ? " msg-pinned" : ""}${who.is_bot ? " msg-bot" : ""}`;
    node.setAttribute("aria-label", `${who.real_name}, ${clock(message.ts)}: ${words(app, message.text ?? "").slice(0, 200)}`);
    drawHead(message, look, who);
    drawBody(message);
    drawFoot(message, look);
    shown = { message, look };
  }

  function drawHead(message, look, who) {
    const signature = JSON.stringify([who, look, message.ts, message.ephemeral, message.pinned, Boolean(message.edited)]);
    if (signature === node.headSignature) return;
    node.headSignature = signature;
    const time = h("time", { class: "msg-time", datetime: new Date(Number(message.ts) * 1000).toISOString(), title: full(message.ts) }, clock(message.ts));
    replaceChildren(face, look.grouped ? time : avatar(who, 36));
    replaceChildren(head,
      message.ephemeral && h("p", { class: "msg-note" }, icon("eye", { size: 14 }), "Only visible to you"),
      message.pinned && h("p", { class: "msg-note msg-note-pin" }, icon("pin", { size: 14 }), "Pinned"),
      !look.grouped && h("span", { class: "msg-by" }, h("strong", { class: "msg-name" }, who.real_name), who.is_bot && h("span", { class: "app-badge" }, "APP"),
        who.is_guest && h("span", { class: "app-badge guest-badge" }, "GUEST"), time));
  }

  function drawBody(message) {
    const all = [...(message.blocks ?? []), ...(message.attachments ?? []).flatMap((entry) => entry.blocks ?? [])];
    form.keepOnly(new Set(all.map((block) => block.block_id)));
    const parts = [];
    const edited = message.edited ? h("span", { class: "edited", title: full(message.edited.ts) }, " (edited)") : null;
    if (message.blocks?.length) {
      parts.push({ key: "blocks", sig: JSON.stringify(message.blocks), make: (old) => {
        const holder = old ?? h("div", { class: "blocks" });
        drawBlocks(holder, message.blocks, context(app, channel, message, form));
        return holder;
      } });
      // A card that edits itself all the time does not say so; people's own edits are marked.
      if (edited && !message.bot_id) parts.push({ key: "edited", sig: message.edited.ts, make: () => edited });
    } else if (message.text) {
      parts.push({ key: "text", sig: `${message.text}/${message.edited?.ts ?? ""}`, make: () => {
        const text = mrkdwn(app, message.text);
        const last = text.lastElementChild;
        if (edited) (last?.matches("p") ? last : text).append(edited);
        return text;
      } });
    }
    reconcile(body, parts);
    reconcile(extra, (message.attachments ?? []).map((entry, at) => ({
      key: String(at), sig: JSON.stringify(entry), make: () => attachment(app, entry, context(app, channel, message, form)),
    })));
  }

  function drawFoot(message, look) {
    const parts = [];
    if (message.reactions?.length) parts.push({ key: "reactions", sig: JSON.stringify([message.reactions, app.store.me]), make: () => reactionChips(app, channel, message) });
    if (message.reply_count && !look.inThread) parts.push({ key: "thread", sig: `${message.reply_count}/${message.latest_reply}`, make: () => threadFooter(app, channel, message) });
    reconcile(foot, parts);
  }

  return { node, update, current: () => shown.message };
}
